"""Networks and flows that a spec declares, and those of its user."""
