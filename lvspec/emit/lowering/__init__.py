"""Expressions of a spec as expressions over tensors with named axes."""
