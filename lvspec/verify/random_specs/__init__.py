"""Random specs: what writes them, says which constructs they hold, puts them on trial, and shortens those that go wrong.

constructs.py  every construct of the language; held.py: those that a spec holds
coverage.py    which of them random specs have to hold, alone and in pairs; measure.py: how many do
generate.py    the text of a spec; drafts/: its parts
judge.py       a module on trial: brute force and, in relations.py, what needs none
shorten.py     the shortest spec that goes wrong in the same way
"""
