"""What every format shares: where it reads from, what it gives back, how it is registered."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import zipfile
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from quorate.dataset import Dataset, own_name
from quorate.display import brief
from quorate.errors import FormatError, InputError, QuorateError, file_error, nearest_file
from quorate.storage import PICTURES, Tree, is_s3, join, open_tree, safe_name, writing
from quorate.storage.records import RECORDS
from quorate.storage.whole import UNFINISHED


@dataclass(frozen=True)
class Source:
    """What is to be read: a tree of files, or one file of a tree.

    location  as the user gave it, for messages and as the root of the pictures
    tree      opened at the location, or at the folder of the one file
    names     every file that may be looked at; only the one file where one was given
    notes     what was left out on the way to them, a sentence each
    pictures  those that lie elsewhere, for formats that say nothing without them
    """

    location: str
    tree: Tree
    names: tuple[str, ...]
    single: bool = False
    notes: tuple[str, ...] = ()
    pictures: Dataset | None = None

    @property
    def frames(self) -> tuple[str, ...]:
        """The pictures by rising code points, as CVAT orders frames; those elsewhere, if given."""
        if self.pictures is None:
            return tuple(filter(is_picture, self.names))
        return tuple(sorted(map(own_name, self.pictures.images)))

    def ending(self, *ends: str) -> list[str]:
        """The names that end so, without regard to case."""
        return [name for name in self.names if name.lower().endswith(ends)]

    def place(self, name: str) -> str:
        """How a message should call one of the files."""
        return self.location if self.single else join(self.location, name)

    def head(self, name: str) -> bytes:
        """The first bytes of a file."""
        with self.tree.open(name) as file:
            return file.read(4096)

    def begins(self, name: str) -> str:
        """The first characters of a file, as far as they are text in UTF-8 or UTF-16."""
        data = self.head(name)
        utf16 = data.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
        return data.decode("utf-16" if utf16 else "utf-8", "replace")

    def text(self, name: str) -> str:
        """A whole file of text; see `plain_text`."""
        return plain_text(self.tree.read(name), self.place(name))

    def lines(self, name: str) -> list[str]:
        """The lines of a whole file that have more than white space, without what surrounds it."""
        return [line.strip() for line in self.text(name).splitlines() if line.strip()]


class Written(NamedTuple):
    """The files written, in order, and what could not be told in them, a sentence each."""

    files: list[str]
    notes: list[str]

    def __repr__(self) -> str:
        return brief(self)


@dataclass(frozen=True)
class Format:
    """One format. `FORMATS` of `quorate.formats` lists them in the order they are looked for.

    name         as users write it
    looked_for   what makes a place recognised, for the message when nothing is
    recognise    whether a source is of this format
    read         the data set of a source
    write        as `quorate.formats.write`, of a target that is text; None for a format that is
                 only read. Raises InputError for what the format cannot hold at all
    """

    name: str
    looked_for: str
    recognise: Callable[[Source], bool]
    read: Callable[[Source], Dataset]
    write: Callable[..., Written] | None = None


class Target:
    """Where files are written: a folder, an S3 prefix, or a ZIP archive (`….zip`).

    Each file of a folder appears whole or not at all, and so does the archive. An archive's bytes
    depend on nothing but the files' (no clock). What takes another file's place, or goes to S3, is
    kept aside until `finish`. `undo` removes the local files and folders that were not there
    before.
    """

    def __init__(self, location: str, *, single: bool = False) -> None:
        self.files: list[str] = []
        self.archive: zipfile.ZipFile | None = None
        self._location = location
        self._single = single
        self._new: dict[Path, None] = {}
        self._aside = ""
        self._kept: dict[str, str] = {}

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """A file to write to, by its name below the target."""
        safe_name(name, origin=self._location)
        if self.archive is None:
            place = self._location if self._single else join(self._location, name)
            aside = is_s3(place) or os.path.isfile(place)
            if not aside:
                self.remember(Path(place))
            with writing(self._beside(place) if aside else place) as file:
                yield file
            self.files.append(place)
            return
        member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        member.compress_type = zipfile.ZIP_DEFLATED
        member.external_attr = 0o644 << 16
        with self.archive.open(member, "w", force_zip64=True) as inside:
            yield cast(BinaryIO, inside)
        if self._location not in self.files:
            self.files.append(self._location)

    def put(self, name: str, data: bytes) -> None:
        """Write one file."""
        with self.create(name) as file:
            file.write(data)

    def remember(self, path: Path) -> None:
        """A local file that is about to be written, or a folder; see `undo`."""
        new = []
        while path not in self._new and not path.exists():
            new.append(path)
            path = path.parent
        self._new |= dict.fromkeys(reversed(new))

    def _beside(self, place: str) -> str:
        """Where a file is kept that goes to its place in the end."""
        if not self._aside:
            here = None if is_s3(place) else os.path.dirname(place) or "."
            try:
                self._aside = tempfile.mkdtemp(prefix=".", suffix=UNFINISHED, dir=here)
            except OSError as error:
                said = f"{place}: cannot be written ({error.strerror or error})."
                raise file_error(error, place) or InputError(said) from None
        return self._kept.setdefault(place, os.path.join(self._aside, str(len(self._kept))))

    def finish(self) -> None:
        """Put what was kept aside in its place; an error says how far this came."""
        for done, (place, kept) in enumerate(self._kept.items()):
            try:
                with open(kept, "rb") as source, writing(place) as file:
                    shutil.copyfileobj(source, file, 1 << 20)
            except QuorateError as error:
                if done:
                    told = f"{done:,} of {len(self._kept):,} files are new there already"
                    error.hint = f"{told}; {error.hint}" if error.hint else told
                raise

    def tidy(self) -> None:
        """Remove the folder of what was kept aside."""
        if self._aside:
            shutil.rmtree(self._aside, ignore_errors=True)

    def undo(self) -> None:
        """Remove what was made: files first, then the folders that are empty."""
        for path in reversed(self._new):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()


@contextlib.contextmanager
def open_target(location: str | os.PathLike[str], *, single: str = "") -> Iterator[Target]:
    """A target to write files to; see `Target`.

    Where `location` ends as `single` does ('.xml'), it names the one file that is written. Where
    the block raises, nothing new is left behind, and what was there is as it was.
    """
    location = os.fspath(location)
    lower = location.lower()
    target = Target(location, single=bool(single) and lower.endswith(single))
    try:
        if lower.endswith(".zip"):
            if not is_s3(location):
                target.remember(Path(location).parent)
            with writing(location) as file, zipfile.ZipFile(file, "w") as archive:
                target.archive = archive
                yield target
        else:
            yield target
            target.finish()
    except BaseException:
        target.undo()
        raise
    finally:
        target.tidy()


def open_source(location: str | os.PathLike[str], *, enter: bool = True) -> Source:
    """A folder, archive or S3 prefix with all its files, or one annotation file.

    Where `enter`, an archive or folder whose only content is one folder stands for that folder:
    people zip the folder.
    """
    location = os.fspath(location).rstrip("/") or "/"
    file = location.lower().endswith((".json", ".xml", ".yaml", ".yml"))
    if (file or RECORDS.search(location)) and not os.path.isdir(location):
        folder, _, name = location.rpartition("/")
        tree = open_tree(folder or ".")
        try:
            tree.open(name).close()  # a clear error where there is none
        except BaseException as error:
            tree.close()
            if isinstance(error, InputError):
                error.hint = error.hint or nearest_file(location)
            raise
        return Source(location=location, tree=tree, names=(name,), single=True)
    tree = open_tree(location)
    names = tuple(tree.names())
    while enter and names and all("/" in name for name in names):
        tops = {name.split("/", 1)[0] for name in names}
        if len(tops) > 1 or tops & KNOWN_FOLDERS:
            break
        location = join(location, tops.pop())
        tree.close()
        tree = open_tree(location)
        names = tuple(tree.names())
    return Source(location=location, tree=tree, names=names)


def plain_text(data: bytes, place: str) -> str:
    """Text in UTF-8, or in UTF-16 where a byte order mark says so; without the mark.

    Raises FormatError for any other.
    """
    utf16 = data.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf16 else "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise not_utf8(place, data) from None


def not_utf8(place: str, data: bytes, before: int = 0) -> FormatError:
    """The error for text that is not UTF-8; `before` is how many bytes of the file precede it."""
    byte = before
    try:
        data.decode()
    except UnicodeDecodeError as error:
        byte += error.start
    return FormatError(
        f"{place}: not text in UTF-8 at byte {byte}.", hint="save it as UTF-8; Latin-1 is not read"
    )


def side(value: float | str | None, place: str) -> int:
    """A picture's width or height in whole pixels, 0 where it is not known.

    Raises FormatError for one that no picture has, and for what is no number.
    """
    try:
        pixels = plain_number(value.strip() or "0") if isinstance(value, str) else float(value or 0)
    except ValueError:
        pixels = -1.0
    if not 0 <= pixels < 1 << 31:
        raise FormatError(
            f"{place}: a picture with a side of {str(value)[:30]!r} pixels.",
            hint="width and height are whole numbers of pixels; 0 where they are not known",
        )
    return int(pixels)


def scores_within(scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores, clipped where rounding has put them a thousandth beside 0..1; (n,) which are none.

    None are those further off, and NaN.
    """
    clipped = np.clip(scores, 0.0, 1.0)
    return clipped, ~(np.abs(scores - clipped) <= OVERSHOOT)


def checked_scores(scores: NDArray[np.float64], place: Callable[[int], str]) -> NDArray[np.float64]:
    """Scores, clipped as `scores_within` does; FormatError, with its row's place, for none."""
    clipped, wrong = scores_within(scores)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise FormatError(
            f"{place(row)} has a score that is not within 0..1 ({scores[row]:g}).",
            hint=score_hint(float(scores[row])),
        )
    return clipped


OVERSHOOT = 1e-3
"""How far beside 0..1 a score may be: sums of floats make 1.0000001."""


def score_hint(score: float) -> str:
    """What to do about a score that is none."""
    if 1 < score <= 100:
        return "a score is from 0 to 1; where these are percent, divide them by 100"
    return "a score is from 0 to 1"


def plain_number(text: str) -> float:
    """A number as programs write it; ValueError for what Python alone takes: '1_0', '１'."""
    if "_" in text or not text.isascii():
        raise ValueError(f"could not convert string to float: {text[:60]!r}")
    return float(text)


def as_number(text: str) -> int | str:
    """The whole number that a text is; the text itself where it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else text


def whole(value: float | str) -> float | str:
    """An id: a float that is a whole number as an int; any other value as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


KNOWN_FOLDERS = {"annotations", "Annotations", "images", "labels", "JPEGImages", "gt"}
"""Folders that belong to a layout, and are therefore not entered."""


def is_picture(name: str) -> bool:
    """Whether a file is a picture, going by its name; hidden files are none."""
    return name.lower().endswith(PICTURES) and not name.rsplit("/", 1)[-1].startswith(".")


def without_ending(name: str) -> str:
    """A picture's name without its ending; any other name as it is, which may have dots."""
    return name.rsplit(".", 1)[0] if is_picture(name) else name


def ends_of(name: str) -> list[str]:
    """The whole name, then without its first folder, its first two, and so on."""
    parts = name.split("/")
    return ["/".join(parts[i:]) for i in range(len(parts))]
