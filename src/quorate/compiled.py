"""Kernels: numba functions whose machine code is loaded without waking numba's compiler.

Before it looks into its cache, numba loads everything it would need to compile: some two hundred
modules, and scipy where that is installed. Loading ready machine code needs none of it, and takes
a tenth of the time; where there is none, the compiler loads itself as ever. Kept is machine code
alone, without what numba adds for other functions to be compiled against it.

Numba keeps code only in folders that it may write to. An image's are read-only, so the code that
was compiled when the image was built is read from there all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

log = logging.getLogger("quorate.compiled")
_told = False

Function = TypeVar("Function", bound=Callable[..., Any])


def tell_once(*, known: bool = False) -> None:
    """Say, the first time, that code is being compiled; `known` where the user knows already."""
    global _told
    if not _told and not known:
        log.warning(
            "compiling kernels, once for this installation: a minute or so "
            "(`quorate compile` does all of them ahead)"
        )
    _told = True


def kernel(function: Function) -> Function:
    """Compile when first called, keep the code beside the module, run without the GIL.

    Only for functions of arrays, numbers and tuples of these: they need nothing that numba
    registers as it loads. What a kernel calls is `njit`; another kernel it cannot call.
    """
    dispatcher: Any = njit(cache=_Cache is None, nogil=True, error_model="numpy")(function)
    if _Cache is not None:
        with suppress(RuntimeError):  # numba's word for "no folder can be written": do without
            dispatcher._cache = _Cache(function)
    return cast(Function, dispatcher)


def drop_stale_code(module: str) -> None:
    """Forget compiled code that is older than any module in the folder of `module`, a `__file__`.

    numba compares a cached kernel with its own module alone, so it would run the old code of a
    changed helper in another one. Where nothing may be deleted, nothing can have been edited.
    """
    folder = Path(module).parent
    newest = max(module.stat().st_mtime for module in folder.glob("*.py"))
    for index in folder.glob("__pycache__/*.nbi"):
        try:
            if index.stat().st_mtime < newest:
                index.unlink()
        except OSError:  # another process was faster, or the folder is read-only
            continue


def _quick_cache() -> Any:
    """Numba's cache without `target_context.refresh()`; None where numba is arranged otherwise."""
    try:
        caching: Any = import_module("numba.core.caching")
        parent, plain = caching.FunctionCache, caching.CompileResultCacheImpl
        locators, beside = plain._locator_classes, caching.InTreeCacheLocator
        after = locators.index(beside) + 1
        helpers: Any = import_module("numba.core.runtime._nrt_python").c_helpers
        binding: Any = import_module("llvmlite.binding")
        _ = parent._load_overload, parent._guard_against_spurious_io_errors
    except (ImportError, AttributeError, ValueError):  # its own way of loading is right, if slow
        return None

    class Baked(beside):  # type: ignore[misc, valid-type]
        """Code beside its module, in a folder that can be read alone."""

        def ensure_cache_path(self) -> None:
            if not any(Path(self._cache_path).glob(f"{Path(self._py_file).stem}.*.nbi")):
                raise FileNotFoundError

    class Places(plain):  # type: ignore[misc, valid-type]
        _locator_classes = (*locators[:after], Baked, *locators[after:])

        def reduce(self, compiled: Any) -> Any:
            """Machine code alone, and the name by which it is called."""
            (name, kind, (code, _)), description, *others, _ = super().reduce(compiled)
            stub = f'define void @"{description.llvm_cpython_wrapper_name}"() {{ ret void }}'
            bitcode = binding.parse_assembly(stub).as_bitcode()
            return ((name, kind, (code, bitcode)), description, *others, ())

        def rebuild(self, target_context: Any, payload: Any) -> Any:
            compiled = super().rebuild(target_context, payload)
            compiled.library._shared_module = None  # numba refuses to link what has none
            return compiled

    class Cache(parent):  # type: ignore[misc, valid-type]
        _impl_class = Places

        def load_overload(self, signature: Any, target_context: Any) -> Any:
            for name, address in helpers.items():
                binding.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)
            with self._guard_against_spurious_io_errors():
                found = self._load_overload(signature, target_context)
            if found is None:
                tell_once()
            return found

        def save_overload(self, signature: Any, data: Any) -> None:
            with suppress(OSError):  # what cannot be kept is compiled again the next time
                super().save_overload(signature, data)

    return Cache


_Cache = _quick_cache()
