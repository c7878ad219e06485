"""How a network's outputs say boxes, scores and labels: a module a family.

`layout` is what a layout is, and which of them fits a graph.
"""
