"""What is compared: an answer of the emitted module against the oracle."""
