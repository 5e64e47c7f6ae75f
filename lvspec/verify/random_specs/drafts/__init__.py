"""Random specs in the making: sections that fill up, and the constructs that a spec is asked to hold.

draft.py      the sections, names, and chance that heeds wishes
layout.py     plates: of the first observation, one beside it, positions
scores.py     expressions: contributions of parents, functions around them
families.py   a distribution of any family, by the tables, with numbers or scores as arguments
latents.py    latents alone or on plates; chains.py along a plate; structures.py over one; globals.py outside the batch
observed.py   what is observed
guides.py     q of some latents, and what it reads
settings.py   overrides, bounds, schedules, terms and the rest
"""
