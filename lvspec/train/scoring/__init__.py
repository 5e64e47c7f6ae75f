"""Figures of a data set under a model, and a step with every value that it names."""
