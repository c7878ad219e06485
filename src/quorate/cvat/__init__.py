"""A CVAT server and ensembles.

`functions` is an ensemble as a function of CVAT's; `nuclio` serves such functions to CVAT's dialog,
`auto_annotation` gives them to CVAT's own SDK and command line (`function` is the module to name).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

_HOMES = {"auto_annotation": ("DetectionFunction", "detection_function")}

__all__ = ["DetectionFunction", "detection_function"]

if TYPE_CHECKING:
    from quorate.cvat.auto_annotation import DetectionFunction, detection_function


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"quorate.cvat.{home}"), name)
    raise AttributeError(f"module 'quorate.cvat' has no attribute '{name}'")
