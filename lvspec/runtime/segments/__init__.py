"""Sums over segmentations of a sequence: semi-Markov chains."""
