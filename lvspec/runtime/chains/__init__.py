"""Sums over chains: the forward and the backward algorithm, in several orders and domains."""
