"""A run's directory: what was trained, and what came of it."""
