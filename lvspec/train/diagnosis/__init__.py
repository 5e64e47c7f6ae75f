"""What went wrong, where, and how noisy it is."""
