"""Detectors that take and give tensors, whoever computes them.

In the order to read: `spec` is what their descriptions share; `geometry` fits a picture into a
network's input, `preprocess` fills the tensor; `layouts` turns what comes out into boxes,
`suppress` drops duplicates; `predictor` goes the whole way, `feed` in batches.
"""
