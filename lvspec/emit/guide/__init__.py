"""The factors of a guide, drawn or laid out along an axis."""
