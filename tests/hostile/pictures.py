"""Image files: of the pages, and with headers that promise more than they hold."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np

from .base import page

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encoded(suffix: str, image: np.ndarray | None = None) -> bytes:
    """A page, or another image, as a file of that kind."""
    done, data = cv2.imencode(suffix, page(0) if image is None else image)
    assert done
    return data.tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int = 8, colour: int = 2, data: bytes | None = None) -> bytes:
    """A PNG that says its size, with `data` for its compressed lines: by default not nearly enough."""
    header = struct.pack(">IIBBBBB", width & 0xFFFFFFFF, height & 0xFFFFFFFF, depth, colour, 0, 0, 0)
    lines = zlib.compress(bytes(100)) if data is None else data
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def png_bomb(width: int, height: int) -> bytes:
    """A whole PNG of one bit a pixel, all black: a thousandth of what it decodes to in colour."""
    compressor, line = zlib.compressobj(9), bytes(1 + (width + 7) // 8)
    data = b"".join(compressor.compress(line) for _ in range(height)) + compressor.flush()
    return png(width, height, 1, 0, data)


def bmp(width: int, height: int, bits: int = 24, compression: int = 0, data: bytes = bytes(60)) -> bytes:
    palette = b"\0\0\0\0\xff\xff\xff\0" * (128 if bits == 8 else 0)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, 0, 0)
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + header + palette + data


def tiff(
    width: int, height: int, *, bits: int = 8, samples: int = 3, strip: bytes = bytes(60), compression: int = 1
) -> bytes:
    entries = [
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, compression)),
        *((262, 3, 1, 2 if samples == 3 else 1), (273, 4, 1, 8), (277, 3, 1, samples), (278, 4, 1, height)),
        (279, 4, 1, len(strip)),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG of a page whose frame header says another size."""
    data = bytearray(encoded(".jpg"))
    where = data.index(b"\xff\xc0") + 5
    data[where : where + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def webp(width: int, height: int) -> bytes:
    """A lossless WebP with little behind its header."""
    data = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(40)
    return b"RIFF" + struct.pack("<I", 12 + len(data)) + b"WEBPVP8L" + struct.pack("<I", len(data)) + data


def gif(width: int, height: int) -> bytes:
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00;"
    return b"GIF89a" + screen + frame


def turned_jpeg(image: np.ndarray, orientation: int = 6) -> bytes:
    """A JPEG with an EXIF tag that says how it is to be turned."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    data = encoded(".jpg", image)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


# file name -> content that says it is enormous, or is
ENORMOUS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "png-of-30000x30000": ("a.png", lambda: png(30000, 30000)),
    "png-of-30000x30000-that-is-true": ("a.png", lambda: png_bomb(30000, 30000)),
    "png-of-40000x40000": ("a.png", lambda: png(40000, 40000)),
    "png-of-a-million-by-one": ("a.png", lambda: png(1_100_000, 1)),
    "png-of-2-to-the-31": ("a.png", lambda: png(2**31, 2**31)),
    "png-of-16-bit-colours": ("a.png", lambda: png(30000, 30000, 16, 6)),
    "bmp-of-30000x30000": ("a.bmp", lambda: bmp(30000, 30000)),
    "bmp-of-30000x30000-in-runs": ("a.bmp", lambda: bmp(30000, 30000, 8, 1, b"\xff\x01" * 50 + b"\0\1")),
    "bmp-upside-down": ("a.bmp", lambda: bmp(30000, -30000)),
    "bmp-of-the-lowest-height": ("a.bmp", lambda: bmp(8, -(2**31))),
    "bmp-of-2-to-the-30": ("a.bmp", lambda: bmp(2**30, 2**30)),
    "tiff-of-30000x30000": ("a.tif", lambda: tiff(30000, 30000)),
    "tiff-of-30000x30000-deflated": (
        "a.tif",
        lambda: tiff(30000, 30000, samples=1, strip=zlib.compress(bytes(30000 * 30000 // 64), 9), compression=8),
    ),
    "tiff-of-2-to-the-31": ("a.tif", lambda: tiff(2**31 - 1, 2**31 - 1)),
    "tiff-of-64-bit-floats": ("a.tif", lambda: tiff(20000, 20000, bits=64)),
    "jpeg-of-65500x65500": ("a.jpg", lambda: jpeg_of(65500, 65500)),
    "jpeg-of-30000x30000": ("a.jpg", lambda: jpeg_of(30000, 30000)),
    "webp-of-16384x16384": ("a.webp", lambda: webp(16384, 16384)),
    "gif-of-65535x65535-as-png": ("a.png", lambda: gif(65535, 65535)),
    "ppm-of-30000x30000-as-png": ("a.png", lambda: b"P6 30000 30000 255\n" + bytes(60)),
    "pbm-of-30000x30000-as-png": ("a.png", lambda: b"P1 30000 30000\n0 1 0 1\n"),
    "pfm-of-30000x30000-as-png": ("a.png", lambda: b"PF\n30000 30000\n-1.0\n" + bytes(60)),
    "hdr-of-30000x30000-as-png": (
        "a.png",
        lambda: b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 30000 +X 30000\n" + bytes(60),
    ),
    "sun-raster-of-30000x30000-as-png": (
        "a.png",
        lambda: struct.pack(">8I", 0x59A66A95, 30000, 30000, 24, 100, 1, 0, 0) + bytes(60),
    ),
}

# file name -> content that no decoder takes
UNREADABLE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty": ("a.png", lambda: b""),
    "text": ("a.jpg", lambda: b"an image"),
    "html": ("a.jpg", lambda: b"<html><body>404</body></html>"),
    "svg": ("a.png", lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
    "pdf": ("a.png", lambda: b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n"),
    "film": ("a.jpg", lambda: b"\0\0\0\x18ftypmp42" + bytes(200)),
    "zeros": ("a.png", lambda: bytes(5000)),
    "only-a-signature": ("a.png", lambda: SIGNATURE),
    "png-cut-at-a-tenth": ("a.png", lambda: encoded(".png")[: len(encoded(".png")) // 10]),
    "png-cut-in-its-header": ("a.png", lambda: encoded(".png")[:20]),
    "png-of-no-size": ("a.png", lambda: png(0, 0)),
    "png-of-no-height": ("a.png", lambda: png(100, 0)),
    "png-of-depth-3": ("a.png", lambda: png(64, 64, 3)),
    "png-of-colour-type-5": ("a.png", lambda: png(64, 64, 8, 5)),
    "png-without-lines": ("a.png", lambda: SIGNATURE + encoded(".png")[8:33] + chunk(b"IEND", b"")),
    "png-of-lines-that-are-none": ("a.png", lambda: png(64, 64, data=b"not zlib at all")),
    "png-with-a-palette-missing": ("a.png", lambda: png(64, 64, 8, 3)),
    "jpeg-cut-in-its-header": ("a.jpg", lambda: encoded(".jpg")[:100]),
    "jpeg-of-no-size": ("a.jpg", lambda: jpeg_of(0, 0)),
    "jpeg-of-markers": ("a.jpg", lambda: b"\xff\xd8" + b"\xff\xd0" * 5000),
    "bmp-of-no-size": ("a.bmp", lambda: bmp(0, 0)),
    "bmp-of-a-negative-width": ("a.bmp", lambda: bmp(-64, 64)),
    "bmp-of-77-bits": ("a.bmp", lambda: bmp(64, 64, 77)),
    "bmp-cut-off": ("a.bmp", lambda: bmp(64, 64)[:30]),
    "tiff-of-a-loop": ("a.tif", lambda: b"II*\0" + struct.pack("<IHI", 8, 0, 8)),
    "tiff-of-no-directory": ("a.tif", lambda: b"II*\0" + struct.pack("<I", 2**31)),
    "tiff-of-7-bits": ("a.tif", lambda: tiff(64, 64, bits=7)),
    "webp-cut-off": ("a.webp", lambda: webp(64, 64)[:20]),
    "exr-as-png": ("a.png", lambda: b"\x76\x2f\x31\x01\x02\0\0\0" + bytes(200)),
    "jpeg-2000-as-png": ("a.png", lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(200)),
    "jpeg-2000-codestream-as-png": ("a.png", lambda: b"\xff\x4f\xff\x51" + bytes(200)),
    "avif-as-png": ("a.png", lambda: b"\0\0\0\x20ftypavif" + bytes(200)),
}
