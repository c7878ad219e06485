"""Kernels: numba functions whose machine code is loaded without waking numba's compiler.

Before it looks into its cache, numba loads everything it would need to compile: some two hundred
modules, and scipy where that is installed. Loading ready machine code needs none of it, and takes
a tenth of the time; where there is none, the compiler loads itself as ever. For that `_Cache`
changes parts of numba that are its own affair, so it is used with the versions it was tried with
alone, and kept is what it can check:

- Machine code comes with a checksum and with what it was compiled from. A file that is damaged, or
  that another process has just replaced, counts as none: the kernel is compiled anew.
- What it was compiled from is all modules in the folder of the kernel, for a kernel may call
  functions of another module. Numba looks at the kernel's own module alone.
- Kept is machine code alone, without what numba adds for other functions to be compiled against it.
- Numba keeps code only in folders that it may write to. An image's are read-only, so the code that
  was compiled when the image was built is read from there all the same.

Files are written beside their place and renamed, so two processes that compile at once do the
work twice, and either's result is whole.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import njit

TRIED = ("0.66.", "0.67.", "0.68.")

log = logging.getLogger("quorate.compiled")
_told: set[str] = set()

Function = TypeVar("Function", bound=Callable[..., Any])


def _once(kind: str, text: str, *values: object) -> None:
    if kind not in _told:
        _told.add(kind)
        log.warning(text, *values)


def tell_once(*, known: bool = False) -> None:
    """Say, the first time, that code is being compiled; `known` where the user knows already."""
    if known:
        _told.add("compiling")
    _once(
        "compiling",
        "compiling kernels, once for this installation: half a minute or so "
        "(`quorate compile` does all of them ahead)",
    )


def _tell_unkept(reason: object) -> None:
    _once(
        "unkept",
        "compiled kernels cannot be kept (%s), so every start compiles them again; "
        "NUMBA_CACHE_DIR names a folder for them",
        reason,
    )


def kernel(function: Function) -> Function:
    """Compile when first called, keep the code beside the module, run without the GIL.

    Only for functions of arrays, numbers and tuples of these: they need nothing that numba
    registers as it loads. What a kernel calls is `njit`; another kernel it cannot call.
    """
    dispatcher: Any = njit(nogil=True, error_model="numpy")(function)
    try:
        if _Cache is None:
            dispatcher.enable_caching()
        else:
            dispatcher._cache = _Cache(function)
    except RuntimeError:  # numba's word for "no folder can be written"
        _tell_unkept("no folder can be written")
    return cast(Function, dispatcher)


@cache
def _sources(folder: Path) -> bytes:
    """A digest of all modules in a folder."""
    digest = hashlib.sha256()
    for module in sorted(folder.glob("*.py")):
        digest.update(module.read_bytes())
    return digest.digest()


def _quick_cache() -> Any:
    """Numba's cache without `target_context.refresh()`; None where numba is arranged otherwise."""
    if not numba.__version__.startswith(TRIED):
        return None
    try:
        caching: Any = import_module("numba.core.caching")
        parent, plain = caching.FunctionCache, caching.CompileResultCacheImpl
        locators, beside = plain._locator_classes, caching.InTreeCacheLocator
        after = locators.index(beside) + 1
        helpers: Any = import_module("numba.core.runtime._nrt_python").c_helpers
        binding: Any = import_module("llvmlite.binding")
        _ = parent._index_key, parent._save_overload
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

        def __init__(self, function: Any) -> None:
            super().__init__(function)
            self._cache_file._source_stamp = _sources(Path(function.__code__.co_filename).parent)

        def load_overload(self, signature: Any, target_context: Any) -> Any:
            for name, address in helpers.items():
                binding.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)
            key = self._index_key(signature, target_context.codegen())
            try:
                kept = self._cache_file.load(key)
                if kept is not None and zlib.crc32(kept[1]) == kept[0]:
                    source, payload = pickle.loads(kept[1])  # noqa: S301, as numba reads its index
                    if source == (key, self._cache_file._source_stamp):
                        return self._impl.rebuild(target_context, payload)
            except Exception as error:  # a damaged file may raise anything as it is unpickled
                log.info("compiled code is damaged, and made anew: %r", error)
                with suppress(OSError):
                    self.flush()
            tell_once()
            return None

        def save_overload(self, signature: Any, data: Any) -> None:
            try:
                if not self._impl.check_cachable(data):
                    return
                self._impl.locator.ensure_cache_path()
                key = self._index_key(signature, data.codegen)
                source = key, self._cache_file._source_stamp
                content = self._cache_file._dump((source, self._impl.reduce(data)))
                self._cache_file.save(key, (zlib.crc32(content), content))
            except Exception as error:  # a full disk, or a damaged index that stays
                _tell_unkept(error)

    return Cache


_Cache = _quick_cache()
