"""Every structure of one example, one after the other, in plain Python: what the runtime's sums are compared with.

A module a family, each with

    structures(length, **sizes) -> Iterator[list[tuple[str, tuple[int, ...]]]]

A structure is the list of its parts, (potential's name, index within one example); one that uses a part twice lists it
twice. `length` is that of one example, a tuple where there are several (source and target).
"""
