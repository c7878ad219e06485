"""How a network's outputs say boxes, scores and labels: a module a family.

`layout` is what a layout is; `recognise` finds the one that a graph is of.
"""
