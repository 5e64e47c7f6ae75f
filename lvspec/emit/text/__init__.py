"""Python text: statements, names, and how they are laid out on the page."""
