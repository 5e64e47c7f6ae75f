"""How a module says that a question has no answer."""


class Undefined(Exception):
    """A question that has no answer here; the message says why."""
