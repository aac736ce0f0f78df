"""Images as a person sees them, in the formats and with the oddities that people's folders have."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from ocrslim.data.image_files import ImageError, decode_image, read_image

PIXELS = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
GREY = PIXELS[:, :, 0]


def encoded(array, kind, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def turned(orientation) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "JPEG2000"])
@pytest.mark.parametrize("array", [PIXELS, GREY], ids=["colour", "grey"])
def test_ordinary_images_are_what_paddleocr_decodes_to_the_bit(kind, array):
    data = encoded(array, kind)
    np.testing.assert_array_equal(decode_image(data).pixels, cv2.imdecode(np.frombuffer(data, np.uint8), 1))


def transparent(kind) -> bytes:
    """Black text (here: a black square) on a ground that is black, too, but transparent."""
    if kind == "palette":
        image = Image.new("P", (30, 20), 1)
        image.putpalette([0, 0, 0, 0, 0, 0, 255, 0, 0])
        image.paste(0, (10, 5, 20, 15))
        stream = io.BytesIO()
        image.save(stream, "PNG", transparency=1)
        return stream.getvalue()
    if kind == "one grey is transparent":
        grey = np.full((20, 30), 7, np.uint8)
        grey[5:15, 10:20] = 0
        return encoded(grey, "PNG", transparency=7)
    alpha = np.zeros((20, 30), np.uint8)
    alpha[5:15, 10:20] = 255
    if kind == "grey and alpha":
        return encoded(np.dstack([np.zeros((20, 30), np.uint8), alpha]), "PNG")
    rgba = np.dstack([np.zeros((20, 30, 3), np.uint8), alpha])
    if kind == "16 bits":
        return cv2.imencode(".png", rgba.astype(np.uint16) * 257)[1].tobytes()
    return encoded(rgba, kind, **({"lossless": True} if kind == "WEBP" else {}))


@pytest.mark.parametrize(
    "kind", ["PNG", "WEBP", "TIFF", "GIF", "palette", "grey and alpha", "one grey is transparent", "16 bits"]
)
def test_what_is_transparent_is_white(kind):
    expected = np.full((20, 30, 3), 255, np.uint8)
    expected[5:15, 10:20] = 0
    np.testing.assert_array_equal(decode_image(transparent(kind)).pixels, expected)


def test_what_is_half_transparent_is_blended_as_paddleocr_does():
    rgba = np.dstack([PIXELS, np.full((20, 30), 100, np.uint8)])
    expected = (255 * (1 - 100 / 255) + PIXELS[:, :, ::-1] * (100 / 255)).astype(np.uint8)
    np.testing.assert_array_equal(decode_image(encoded(rgba, "PNG")).pixels, expected)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_scaled_to_eight(suffix, channels):
    values = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    data = cv2.imencode(suffix, values if channels == 1 else np.dstack([values] * 3))[1].tobytes()
    found = decode_image(data).pixels
    assert found.dtype == np.uint8 and found.shape == (20, 30, 3)
    np.testing.assert_allclose(found, np.dstack([values / 257] * 3), atol=1)
    assert found.max() == 255


def test_a_grey_map_is_scaled_by_the_largest_value_that_it_says_it_has():
    values = np.array([[0, 1000], [2000, 4095]], ">u2")
    found = decode_image(b"P5\n2 2\n4095\n" + values.tobytes()).pixels[:, :, 0]
    np.testing.assert_allclose(found, values / 4095 * 255, atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "transparent PNG"])
def test_the_orientation_that_a_camera_noted_is_applied_in_every_format(kind, orientation):
    clear = kind.startswith("transparent")
    array = np.dstack([PIXELS, np.full((20, 30), 200, np.uint8)]) if clear else PIXELS
    plain = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    upright = decode_image(encoded(array, kind.split()[-1], **plain))
    found = decode_image(encoded(array, kind.split()[-1], exif=turned(orientation), **plain))
    methods = dict(enumerate(Image.Transpose, 2))  # of Pillow, in another order than EXIF's
    transposed = {
        2: methods[2], 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
    }  # fmt: skip
    expected = Image.fromarray(upright.pixels)
    if orientation > 1:
        expected = expected.transpose(transposed[orientation])
    np.testing.assert_array_equal(found.pixels, np.asarray(expected))
    assert found.turned == (orientation >= 5)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_configuration_can_have_the_pixels_as_they_are_stored(kind):
    data = encoded(PIXELS, kind, exif=turned(6))
    found = decode_image(data, ignore_orientation=True)
    assert found.pixels.shape == (20, 30, 3) and not found.turned


FILM = b"\0\0\0\x18ftypmp42" + bytes.fromhex("ffda000cffd8") * 50


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_bytes_behind_the_end_do_not_matter(kind):
    data = encoded(PIXELS, kind)
    np.testing.assert_array_equal(decode_image(data + FILM).pixels, decode_image(data).pixels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_a_truncated_image_is_damaged(kind, share):
    data = encoded(np.kron(PIXELS, np.ones((8, 8, 1), np.uint8)), kind)
    with pytest.raises(ImageError):
        decode_image(data[: int(share * len(data))])


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a"])
def test_what_is_no_image_is_said_in_a_few_words(data):
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 140


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(kind) -> bytes:
    """A few kilobytes at most that say they are 30000 x 30000 pixels."""
    if kind == "PNG":
        start = chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    if kind == "PPM":
        return b"P6\n30000 30000\n255\n" + bytes(1000)
    small = bytearray(encoded(PIXELS, kind))
    if kind == "BMP":
        small[18:26] = struct.pack("<ii", 30000, 30000)
    elif kind == "GIF":
        small[6:10] = struct.pack("<HH", 30000, 30000)
    else:
        at = small.index(b"\xff\xc0") + 5
        small[at : at + 4] = struct.pack(">HH", 30000, 30000)
    return bytes(small)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG", "PPM"])
def test_an_image_that_says_it_is_huge_is_refused_by_its_header(kind, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=r"more than 178,956,970 pixels"):
        decode_image(bomb(kind))


def test_floating_point_images_are_refused_with_a_remedy():
    with pytest.raises(ImageError, match=r"float32 values, expected 8 or 16 bits.*PNG"):
        decode_image(cv2.imencode(".tiff", PIXELS.astype(np.float32))[1].tobytes())


def test_a_device_is_no_image(tmp_path):
    (tmp_path / "a.png").symlink_to("/dev/zero")
    with pytest.raises(ImageError, match="it is a device, expected a regular file"):
        read_image(tmp_path / "a.png")
