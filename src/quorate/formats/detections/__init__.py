"""Files of detections of every kind.

`reading` tells the kinds apart, `matching` finds the picture and the label that a row means,
`columns` is what was read.
"""
