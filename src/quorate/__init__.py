"""Quorate: a quorum of detectors decides."""

__version__ = "0.1.0"
