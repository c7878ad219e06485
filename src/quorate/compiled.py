"""Kernels: numba functions whose machine code is loaded without waking numba's compiler.

Before it looks into its cache, numba loads everything it would need to compile: some two hundred
modules, and scipy where that is installed. Loading ready machine code needs none of it, and takes
a third of the time; where there is none, the compiler loads itself as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile when first called, keep the code beside the module, run without the GIL.

    Only for functions of arrays, numbers and tuples of these: they need nothing that numba
    registers as it loads.
    """
    dispatcher: Any = njit(cache=True, nogil=True, error_model="numpy")(function)
    if _Cache is not None:
        dispatcher._cache = _Cache(function)
    return cast(Function, dispatcher)


def _quick_cache() -> Any:
    """Numba's cache without `target_context.refresh()`; None where numba is arranged otherwise."""
    try:
        caching: Any = import_module("numba.core.caching")
        runtime: Any = import_module("numba.core.runtime").rtsys
        parent = caching.FunctionCache
        _ = parent._load_overload, parent._guard_against_spurious_io_errors, runtime.initialize
    except (ImportError, AttributeError):  # its own way of loading is right, if slow
        return None

    class Cache(parent):  # type: ignore[misc, valid-type]
        def load_overload(self, signature: Any, target_context: Any) -> Any:
            runtime.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                return self._load_overload(signature, target_context)

    return Cache


_Cache = _quick_cache()
