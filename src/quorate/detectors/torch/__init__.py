"""Detectors that run in torch: those of torchvision and those of transformers.

`spec` and `predictor` are what both share, `weights` reads files of weights without running code.
"""
