"""Guides that nobody wrote."""
