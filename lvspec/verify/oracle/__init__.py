"""The model by its definition: every joint state, in code that shares nothing with the emitted module."""
