import contextlib
import io
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps

from quorate import DetectionEnsemble, pictures
from quorate.errors import ImageError
from tests.spots import Spots

UPRIGHT = (
    np.array(
        [[[250, 0, 0], [0, 250, 0], [0, 0, 250]], [[250, 250, 0], [0, 0, 0], [250, 250, 250]]],
        dtype=np.uint8,
    )
    .repeat(16, axis=0)
    .repeat(16, axis=1)
)  # 32 high, 48 wide; each colour a JPEG block


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    return tags


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_to_pixels_and_size_alike(format, orientation):
    options = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}, "AVIF": {"quality": 95}}.get(
        format, {"quality": 95, "subsampling": 0}
    )
    data = encoded(Image.fromarray(UPRIGHT), format, exif=exif(orientation), **options)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    shown = pictures.decode(data, name="p")
    assert np.array_equal(shown, expected)
    assert shown.flags.c_contiguous
    assert shown.shape[:2] == ((48, 32) if orientation >= 5 else (32, 48))
    for file in (data, io.BytesIO(data)):
        assert pictures.size(file, name="p") == shown.shape[1::-1]


def test_an_orientation_after_the_pixels_of_a_png_counts_too():
    plain = encoded(Image.fromarray(UPRIGHT))
    block = exif(6).tobytes()[6:]  # without b"Exif\0\0"
    chunk = b"eXIf" + block
    chunk = struct.pack(">I", len(block)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = plain[:-12] + chunk + plain[-12:]
    assert pictures.decode(data, name="p").shape == (48, 32, 3)
    assert pictures.size(data, name="p") == (32, 48)
    assert pictures.size(plain, name="p") == (48, 32)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_means_nothing_is_upright(orientation):
    data = encoded(Image.fromarray(UPRIGHT), exif=exif(orientation))
    assert np.array_equal(pictures.decode(data, name="p"), UPRIGHT)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_exif_block_costs_nothing():
    data = encoded(Image.fromarray(UPRIGHT), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert pictures.decode(data, name="p").shape == (32, 48, 3)
    assert pictures.size(data, name="p") == (48, 32)


def test_alpha_is_dropped_and_not_composited():
    rgba = np.dstack([UPRIGHT, np.zeros((32, 48), dtype=np.uint8)])
    assert np.array_equal(pictures.decode(encoded(Image.fromarray(rgba)), name="p"), UPRIGHT)
    la = Image.fromarray(UPRIGHT).convert("L").convert("LA")
    la.putalpha(0)
    expected = np.asarray(Image.fromarray(UPRIGHT).convert("L"))
    assert np.array_equal(pictures.decode(encoded(la), name="p")[..., 0], expected)


@pytest.mark.parametrize("transparency", [None, 3, bytes([0, 128, 255])])
def test_a_palette_gives_its_colours_whatever_is_transparent(transparency):
    image = Image.fromarray(UPRIGHT).quantize(8)
    options = {} if transparency is None else {"transparency": transparency}
    shown = pictures.decode(encoded(image, **options), name="p")
    assert np.array_equal(shown, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["1", "L", "CMYK"])
def test_other_modes_become_what_pillow_makes_of_them(mode):
    image = Image.fromarray(UPRIGHT).convert(mode)
    shown = pictures.decode(encoded(image, "TIFF"), name="p")
    assert np.array_equal(shown, np.asarray(image.convert("RGB")))


def test_a_cmyk_jpeg_is_not_inverted():
    image = Image.fromarray(UPRIGHT).convert("CMYK")
    data = encoded(image, "JPEG", quality=100, subsampling=0)
    close = np.abs(pictures.decode(data, name="p").astype(int) - UPRIGHT)
    assert close.max() < 12


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_one_channel_of_many_bits_is_stretched_from_its_darkest_to_its_brightest(dtype):
    deep = np.linspace(1000, 3000, 24).reshape(4, 6).astype(dtype)
    shown = pictures.decode(encoded(Image.fromarray(deep), "TIFF"), name="p")
    assert shown.shape == (4, 6, 3)
    assert (shown.min(), shown.max()) == (0, 255)
    wanted = (deep.astype(float) - 1000) / 2000 * 255
    assert np.abs(shown[..., 1] - wanted).max() <= 1
    assert (shown[..., 0] == shown[..., 2]).all()


def test_sixteen_bit_png_and_big_endian_tiff():
    deep = np.array([[0, 30000], [60000, 65535]], dtype=np.uint16)
    png = pictures.decode(encoded(Image.fromarray(deep)), name="p")
    assert png[..., 0].tolist() == [[0, 116], [233, 255]]
    big = Image.frombytes("I;16B", (2, 2), deep.astype(">u2").tobytes())
    assert np.array_equal(pictures.decode(encoded(big, "TIFF"), name="p"), png)


def test_deep_pictures_without_contrast_or_with_nan_do_not_fail():
    flat = Image.fromarray(np.full((2, 3), 700, dtype=np.uint16))
    assert not pictures.decode(encoded(flat, "TIFF"), name="p").any()
    holes = np.array([[np.nan, 1], [2, np.inf]], dtype=np.float32)
    shown = pictures.decode(encoded(Image.fromarray(holes), "TIFF"), name="p")
    assert shown[..., 0].tolist() == [[0, 0], [255, 255]]
    nothing = np.full((2, 2), np.nan, dtype=np.float32)
    assert not pictures.decode(encoded(Image.fromarray(nothing), "TIFF"), name="p").any()


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(format):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    shown = pictures.decode(data, name="p")
    assert shown.shape == (10, 20, 3)
    assert (shown == [255, 0, 0]).all()
    assert pictures.size(data, name="p") == (20, 10)


def test_one_pixel_is_a_picture():
    data = encoded(Image.new("RGB", (1, 1), (1, 2, 3)))
    assert pictures.decode(data, name="p").tolist() == [[[1, 2, 3]]]
    assert pictures.size(data, name="p") == (1, 1)


def test_a_colour_profile_changes_nothing():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    data = encoded(Image.fromarray(UPRIGHT), icc_profile=profile)
    assert np.array_equal(pictures.decode(data, name="p"), UPRIGHT)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000"])
def test_a_truncated_picture_is_an_error_that_names_it(format):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format)
    for keep in (len(data) // 2, len(data) * 9 // 10):
        with pytest.raises(ImageError, match=r"street/a b\.x: ") as caught:
            pictures.decode(data[:keep], name="street/a b.x")
        assert caught.value.code == "image"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"hello, not a picture at all", "not a picture"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not a picture"),
        (b"\xff\xd8\xff", "p:"),
        (b"\x89PNG\r\n\x1a\n", "p:"),
    ],
)
def test_what_is_no_picture_is_an_error_that_says_so(data, why):
    for read in (pictures.decode, pictures.size):
        with pytest.raises(ImageError, match=why):
            read(data, name="p")


def test_a_decompression_bomb_is_refused_from_its_header(monkeypatch):
    data = encoded(Image.new("1", (400, 300)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    for pixels in (100_000, 50_000):  # Pillow warns of the first, and raises on the second
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
        for read in (pictures.decode, pictures.size):
            with pytest.raises(ImageError, match="too large") as caught:
                read(data, name="p")
            assert "MAX_IMAGE_PIXELS" in caught.value.hint
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert pictures.size(data, name="p") == (400, 300)


@pytest.mark.filterwarnings("ignore")
def test_random_damage_never_raises_anything_else():
    rng = np.random.default_rng(7)
    for format in ("JPEG", "PNG", "TIFF", "GIF", "WEBP"):
        good = np.frombuffer(encoded(Image.fromarray(UPRIGHT), format), np.uint8)
        for _ in range(40):
            bad = good.copy()
            bad[rng.integers(0, len(bad), 3)] = rng.integers(0, 256, 3)
            for read in (pictures.decode, pictures.size):
                with contextlib.suppress(ImageError):
                    read(bad.tobytes(), name="p")


def test_threads_decode_at_once():
    data = encoded(Image.fromarray(UPRIGHT), "JPEG")
    expected = pictures.decode(data, name="p")
    with ThreadPoolExecutor(4) as pool:
        shown = list(pool.map(lambda _: pictures.decode(data, name="p"), range(100)))
    assert all(np.array_equal(picture, expected) for picture in shown)


HEIC = Path(__file__).parent / "assets/corner.heic"  # 48 x 32, a red corner, by libheif


def test_heic_is_read_where_its_package_is():
    data = HEIC.read_bytes()
    assert pictures.size(data, name="a.heic") == (48, 32)
    shown = pictures.decode(data, name="a.heic")
    assert shown.shape == (32, 48, 3)
    assert shown[2, 2, 0] > 200
    assert shown[30, 40, 0] < 60
    with pytest.raises(ImageError, match=r"a\.heic"):
        pictures.decode(data[:-200], name="a.heic")


def test_without_the_package_heic_names_the_extra():
    code = (
        "import sys; sys.modules['pi_heif'] = None\n"
        "from quorate import pictures, QuorateError\n"
        f"data = open({str(HEIC)!r}, 'rb').read()\n"
        "try: pictures.size(data, name='a.heic')\n"
        "except QuorateError as error: print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip().endswith("pip install 'quorate[heif]'.")
    assert done.stderr == ""


def test_avif_is_read():
    data = io.BytesIO()
    Image.new("RGB", (40, 20), (200, 10, 10)).save(data, "AVIF")
    assert pictures.decode(data.getvalue(), name="a.avif").shape == (20, 40, 3)


def test_a_picture_beyond_the_limit_gets_one_sentence_and_no_warning_of_pillow(tmp_path):
    Image.new("1", (3000, 2000)).save(tmp_path / "large.png")
    code = (
        "import sys\nfrom PIL import Image\nfrom quorate import pictures, QuorateError\n"
        "data = open(sys.argv[1], 'rb').read()\n"
        "pictures.allow(4_000_000)\n"
        "try: pictures.decode(data, name='large.png')\n"
        "except QuorateError as error: print(error)\n"
        "pictures.allow(6_000_000)\n"
        "print(pictures.decode(data, name='large.png').shape)\n"
    )
    run = [sys.executable, "-c", code, str(tmp_path / "large.png")]
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert "too large (3000 × 2000 pixels)" in done.stdout
    assert "`max_pixels`" in done.stdout
    assert "(2000, 3000, 3)" in done.stdout


def test_each_ensemble_in_a_process_has_its_own_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_000)
    data = io.BytesIO()
    Image.new("RGB", (100, 50)).save(data, "PNG")

    def loaded(pixels):
        spots = Spots(name="spots")
        return DetectionEnsemble(
            name="spots", labels=["red", "green"], detectors=[spots], max_pixels=pixels
        ).load()

    with loaded(6_000) as large, loaded(None) as usual, loaded(4_000) as small, loaded(9_000):
        assert len(large.look(data.getvalue())) == 0
        for one in (usual, small):
            with pytest.raises(ImageError, match="too large"):
                one.look(data.getvalue())
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 8_000)  # the caller's own word counts again
        with loaded(None) as later:
            assert len(later.look(data.getvalue())) == 0
