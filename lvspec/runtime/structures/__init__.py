"""Distributions over structures as random variables: labels of a sequence, and symbols that hidden structures yield."""
