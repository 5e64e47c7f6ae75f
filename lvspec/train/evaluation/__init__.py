"""The figures of a field for a trained model."""
