"""Kernels: numba functions whose machine code is loaded without waking numba's compiler.

Before it looks into its cache, numba loads everything it would need to compile: some two hundred
modules, and scipy where that is installed. Loading ready machine code needs none of it, and takes
a third of the time; where there is none, the compiler loads itself as ever.

Numba keeps code only in folders that it may write to. An image's are read-only, so the code that
was compiled when the image was built is read from there all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile when first called, keep the code beside the module, run without the GIL.

    Only for functions of arrays, numbers and tuples of these: they need nothing that numba
    registers as it loads.
    """
    dispatcher: Any = njit(cache=_Cache is None, nogil=True, error_model="numpy")(function)
    if _Cache is not None:
        with suppress(RuntimeError):  # numba's word for "no folder can be written": do without
            dispatcher._cache = _Cache(function)
    return cast(Function, dispatcher)


def _quick_cache() -> Any:
    """Numba's cache without `target_context.refresh()`; None where numba is arranged otherwise."""
    try:
        caching: Any = import_module("numba.core.caching")
        runtime: Any = import_module("numba.core.runtime").rtsys
        parent, plain = caching.FunctionCache, caching.CompileResultCacheImpl
        locators, beside = plain._locator_classes, caching.InTreeCacheLocator
        after = locators.index(beside) + 1
        _ = parent._load_overload, parent._guard_against_spurious_io_errors, runtime.initialize
    except (ImportError, AttributeError, ValueError):  # its own way of loading is right, if slow
        return None

    class Baked(beside):  # type: ignore[misc, valid-type]
        """Code beside its module, in a folder that can be read alone."""

        def ensure_cache_path(self) -> None:
            if not any(Path(self._cache_path).glob(f"{Path(self._py_file).stem}.*.nbi")):
                raise FileNotFoundError

    class Places(plain):  # type: ignore[misc, valid-type]
        _locator_classes = (*locators[:after], Baked, *locators[after:])

    class Cache(parent):  # type: ignore[misc, valid-type]
        _impl_class = Places

        def load_overload(self, signature: Any, target_context: Any) -> Any:
            runtime.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                return self._load_overload(signature, target_context)

        def save_overload(self, signature: Any, data: Any) -> None:
            with suppress(OSError):  # what cannot be kept is compiled again the next time
                super().save_overload(signature, data)

    return Cache


_Cache = _quick_cache()
