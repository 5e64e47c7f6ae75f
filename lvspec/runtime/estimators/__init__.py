"""Estimators of gradients and bounds: control variates, relaxed draws, schemes of draws, importance weights."""
