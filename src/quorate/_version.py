"""The version, by itself: what is below the package's roof may read it."""

__version__ = "0.2.0"
