"""The factors of a model, and the sums and integrals over what is not drawn."""
