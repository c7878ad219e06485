"""How a network's outputs say boxes, scores and labels: a table for each family.

`layout` is what a layout is; `finished` has heads that end in boxes, scores and labels, `pairs`
boxes beside a number for each label, `rows` a row for each box, `dense` one for each anchor,
`oriented` turned boxes;
`recognise` finds the one that a graph is of.
"""
