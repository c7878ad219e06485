"""Pictures: from the bytes of a file to the pixels a detector sees.

What a person labels in CVAT and what a detector sees are the same pixels in the same frame:

    orientation      EXIF (and XMP) orientation is applied, as CVAT does
    alpha            dropped, as CVAT does: a transparent pixel keeps the colour beneath
    palette, 1 bit   their colours; CMYK and YCCK by Pillow's plain conversion, without ICC profile
    16 and 32 bits   one channel (I;16, I, F): stretched from its own darkest..brightest to 0..255,
                     as CVAT does before it equalises the histogram, which we do not: it would
                     change the contrast that a detector was trained on. Three channels of 16 bits
                     keep their high byte (Pillow reads them so)
    animations       the first frame, and the first page

Only formats that Pillow decodes by itself are opened (`FORMATS`): never one, such as EPS, that
starts another program. HEIC needs the package pi-heif, which is the extra `heif`. A picture of more
than `PIL.Image.MAX_IMAGE_PIXELS` pixels (89 million unless you set it, or a spec's `max_pixels`
does) is refused before a pixel is decoded; Pillow's own warning of it is not shown beside.
"""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from quorate.errors import ImageError, InputError

T = TypeVar("T")
Picture = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
"""A file (a path, a place in a ZIP archive or in S3), its bytes, or its pixels.

Of a file and of its bytes the EXIF orientation is applied, as everywhere here. A PIL image and an
array, uint8 (height, width, 3) in RGB, are taken as they stand.
"""

FORMATS = (
    "JPEG",
    "PNG",
    "TIFF",
    "WEBP",
    "BMP",
    "GIF",
    "PPM",
    "JPEG2000",
    "AVIF",
    "TGA",
    "HEIF",
)
"""Pillow's names of the formats that are read; MPO is JPEG with more frames."""

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture of an EXIF orientation upright; 1 and anything unknown is upright."""


def decode(data: bytes, *, name: str, most: int | None = None) -> NDArray[np.uint8]:
    """Decode a whole file as CVAT shows it; `name` is what errors call the picture.

    Returns uint8 (height, width, 3), RGB, C-contiguous, upright; it may be read-only. Raises
    ImageError where the bytes are no picture, are damaged or cut short, or the picture has more
    than `most` pixels, or `PIL.Image.MAX_IMAGE_PIXELS`.
    """
    return _read(BytesIO(data), upright, name, most)


def upright(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels of an open image with its EXIF orientation applied, uint8 (height, width, 3)."""
    image.load()
    orientation = _orientation(image)
    image = to_rgb(image)
    if orientation in _TRANSPOSED:
        image = image.transpose(_TRANSPOSED[orientation])
    return np.asarray(image)


def pixels(
    picture: Picture,
    *,
    name: str,
    read: Callable[[str | os.PathLike[str]], bytes],
    most: int | None = None,
) -> NDArray[np.uint8]:
    """The pixels of a picture given in any way, uint8 (height, width, 3) in RGB; see `Picture`.

    `read` gives the bytes of a file; `most` is as in `decode`, of files alone. Raises ImageError
    for what is no picture, InputError for an array of another shape or type.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise InputError(
                f"{name}: an array of {picture.dtype} {picture.shape} is no picture.",
                hint="give uint8 of (height, width, 3), RGB",
            )
        if not picture.size:
            raise InputError(f"{name}: has no pixels.")
        return np.ascontiguousarray(picture)
    if isinstance(picture, Image.Image):
        try:
            shown = np.asarray(to_rgb(picture.copy()))
        except (OSError, ValueError) as error:  # cut short, or closed
            raise ImageError(f"{name}: cannot be decoded ({error}).") from None
        return pixels(shown, name=name, read=read)
    if isinstance(picture, bytes | bytearray | memoryview):
        return decode(bytes(picture), name=name, most=most)
    if not isinstance(picture, str | os.PathLike):
        raise InputError(
            f"{name}: a {type(picture).__name__} is no picture.",
            hint="give a path, the bytes of a file, an image of Pillow, or an array",
        )
    if "\0" in os.fspath(picture):
        raise InputError(f"{name!r}: is no path.")
    return decode(read(picture), name=name, most=most)


def size(file: BinaryIO | bytes, *, name: str, most: int | None = None) -> tuple[int, int]:
    """Width and height of a picture as CVAT shows it, from the header of a file that can seek.

    A PNG that tells its orientation behind its pixels is decoded; one of more than `most` pixels is
    not, and its size is that of the file. ImageError as for `decode`, save for damage beyond the
    header.
    """
    opened = BytesIO(file) if isinstance(file, bytes) else file

    def extent(image: Image.Image) -> tuple[int, int]:
        width, height = image.size
        few = most is None or width * height <= most
        if few and image.format == "PNG" and _has_late_exif(opened):
            image.load()
        # Pillow gives a TIFF's size as shown, and turns its pixels by itself.
        turned = image.format != "TIFF" and _orientation(image) >= 5
        return (height, width) if turned else (width, height)

    return _read(opened, extent, name)


def _read(file: BinaryIO, use: Callable[[Image.Image], T], name: str, most: int | None = None) -> T:
    """Open a picture and use it; every way in which that can fail becomes an ImageError."""
    known = [name for name in FORMATS if name != "HEIF" or name in Image.OPEN]
    try:
        with Image.open(file, formats=known) as image:
            limit = Image.MAX_IMAGE_PIXELS if most is None else most
            if limit is not None and image.width * image.height > limit:
                raise _too_large(name, f"{image.width} × {image.height} pixels")
            return use(image)
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(f"{name}: does not fit into memory.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, str(error)) from None
    except UnidentifiedImageError:
        if "HEIF" not in known and _opens_heif(file, name):
            return _read(file, use, name, most)
        raise ImageError(f"{name}: {_no_picture(file)}.") from None
    except Exception as error:  # decoders of untrusted bytes raise nearly anything
        reason = str(error) or type(error).__name__
        raise ImageError(f"{name}: the picture is damaged or cut short ({reason}).") from None


def _opens_heif(file: BinaryIO, name: str) -> bool:
    """Whether a file is HEIC, and can now be opened; ImageError where the package is not there."""
    file.seek(0)
    start = file.read(12)
    file.seek(0)
    if start[4:8] != b"ftyp" or start[8:12] not in HEIF_BRANDS:
        return False
    try:
        import pi_heif
    except ImportError:
        raise ImageError(
            f"{name}: HEIC needs a package that is not installed: pip install 'quorate[heif]'."
        ) from None
    pi_heif.register_heif_opener()
    return True


def allow(pixels: int | None) -> None:
    """Let pictures have so many pixels, in this process; None leaves the limit as it is."""
    if pixels is not None:
        Image.MAX_IMAGE_PIXELS = pixels


class _Lifted:
    """What `own_limit` has made of Pillow's limit, and what it was."""

    usual: int | None = None
    now: int | None = None


def own_limit(pixels: int | None) -> int | None:
    """A limit to give as `most`: this one, or for None the process's, without others' own ones.

    Pillow, which has one limit for the process, is made to open pictures of so many.
    """
    now = Image.MAX_IMAGE_PIXELS
    usual = _Lifted.usual if now is not None and now == _Lifted.now else now
    if pixels is None:
        return usual
    if now is not None and pixels > now:
        _Lifted.usual, _Lifted.now = usual, pixels
        Image.MAX_IMAGE_PIXELS = pixels
    return pixels


def _too_large(name: str, how: str) -> ImageError:
    return ImageError(
        f"{name}: the picture is too large ({how}).",
        hint="if it is meant, write `max_pixels` in the spec, or set PIL.Image.MAX_IMAGE_PIXELS in "
        "Python; `tiles` of a detector shows it such a picture piece by piece",
    )


def _no_picture(file: BinaryIO) -> str:
    file.seek(0)
    start = file.read(24)
    if not start:
        return "the file is empty"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the picture itself; fetch it with `git lfs pull`"
    return f"not a picture of a format that is read ({', '.join(FORMATS)})"


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or the EXIF block is damaged."""
    try:
        # PNG's own getexif would decode the whole picture first.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # as above: any byte may be wrong
        return 1
    return value if value in _TRANSPOSED else 1


def turned(image: Image.Image) -> bool:
    """Whether the EXIF of an open image says that it is shown turned or mirrored."""
    return _orientation(image) != 1


def _has_late_exif(file: BinaryIO) -> bool:
    """Whether a PNG says something after its pixels that may be an orientation."""
    position = file.tell()
    file.seek(8)
    late = False
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND" or (late and kind in (b"eXIf", b"iTXt", b"tEXt", b"zTXt")):
            break
        late |= kind == b"IDAT"
        file.seek(length + 4, 1)
    file.seek(position)
    return len(head) == 8 and kind != b"IEND"


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture's pixels in RGB, as the module says; of a picture in RGB, the picture itself."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _stretched(image)
    image.info.pop("transparency", None)  # else Pillow warns that it is dropped, as is meant
    return image.convert("RGB")


def _stretched(image: Image.Image) -> Image.Image:
    """One channel of more than 8 bits: its darkest..brightest to 0..255, in three channels."""
    values = np.asarray(image).astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        values, finite = np.zeros_like(values), np.ones_like(finite)
    low, high = values[finite].min(), values[finite].max()
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) * (
        255.0 / (high - low) if high > low else 0.0
    )
    return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
