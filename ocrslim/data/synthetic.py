"""Rendered text images with exact labels: receipts and signs, for the demo and for tests.

Text is labelled line by line, as PP-OCR's detectors see it, by a quadrilateral around the ink. All chance
comes from one seed, so a data set can be made again, byte for byte, wherever the fonts are the same.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ocrslim.errors import DataError
from ocrslim.utils import atomic_file, check_writable, progress_bar, write_text

Random = np.random.Generator

_FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Bold"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol"),
)
_VOCABULARY = (
    "ace bakery bridge cafe cash centre change city coffee corner daily deli east exit express first "
    "flower fresh garden gate grand green harbour hotel house island item kitchen lane light market "
    "member mill night north open orange order paper park platform price quality quick receipt river road "
    "royal sale school shop silver south square station street summer sun table tax tea ticket total "
    "tower town trade vehicle village water west white window yard young"
)
_WORDS = tuple(_VOCABULARY.split())
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601: how bright red, green and blue look
_MIN_SIZE = 128
_SCALE = 2  # text is drawn this much larger and shrunk where it is placed, which smooths it
_MARGIN = 0.14  # of the ink's height, on every side: where annotators, and PP-OCR's detectors, draw the box


@dataclass
class _Scene:
    """An image in the making: float32 RGB [H, W, 3], the view from page to image, the labels so far."""

    pixels: np.ndarray
    view: np.ndarray
    labels: list[dict[str, Any]] = field(default_factory=list)
    taken: list[np.ndarray] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True)
class _Line:
    """A line of text: `point` pixels large, its anchor (0 left end, 1 right end) at page position `at`."""

    text: str
    font: Path
    point: float
    colour: np.ndarray
    at: tuple[float, float]
    anchor: float = 0.5
    turn: float = 0.0  # degrees
    room: float = np.inf  # left out where it would be longer
    plate: np.ndarray | None = None  # colour of a plate behind it


def render_dataset(folder: Path | str, count: int, seed: int, size: tuple[int, int] = (320, 320)) -> Path:
    """Render `count` images of `size` (width, height) into `folder/images` and label them.

    The label file is written last: where it exists, everything it names exists as well.

    Returns:
        `folder/label.txt`, in PaddleOCR's format with names relative to `folder/images`.

    Raises:
        ArtifactError: the folder cannot be written.
        DataError: matplotlib's fonts are not installed.
        ValueError: a side is under 128 pixels, too small for text and background.
    """
    if min(size) < _MIN_SIZE:
        raise ValueError(f"size {size}: expected at least {_MIN_SIZE} x {_MIN_SIZE} pixels")
    folder = check_writable(Path(folder))
    (folder / "label.txt").unlink(missing_ok=True)
    fonts = font_files()
    lines = []
    for index in progress_bar(range(count), desc=f"rendering {folder}", unit="img"):
        rng = np.random.default_rng([seed, index])
        pixels, labels = render_image(rng, size, fonts)
        name = f"{index:05d}.jpg"
        with atomic_file(folder / "images" / name) as stream:
            stream.write(_jpeg(pixels, int(rng.integers(50, 92))))
        lines.append(f"{name}\t{json.dumps(labels)}\n")
    write_text(folder / "label.txt", "".join(lines))
    return folder / "label.txt"


def font_files() -> list[Path]:
    """Return the fonts that matplotlib brings; raises `DataError` where it brings none of them."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [path for name in _FONTS if (path := folder / f"{name}.ttf").is_file()]
    if not fonts:
        raise DataError(f"{folder}: none of the fonts {', '.join(_FONTS)} found: pip install matplotlib again")
    return fonts


def render_image(rng: Random, size: tuple[int, int], fonts: list[Path]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Render one image.

    Returns:
        uint8 RGB [H, W, 3], and its labels: `{"transcription": text, "points": 4 corners, clockwise from the
        line's beginning}` in pixels.
    """
    scene = _Scene(_background(rng, size), _view(rng, size))
    draw = _receipt if rng.random() < 0.5 else _signs
    while not scene.labels:
        draw(rng, scene, fonts)
    return _photograph(rng, scene.pixels), scene.labels


def _background(rng: Random, size: tuple[int, int]) -> np.ndarray:
    """Return a gradient between two colours with blurred shapes and coarse noise."""
    width, height = size
    first, second = rng.uniform(20, 235, (2, 3))
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    blend = ((np.cos(angle) * x + np.sin(angle) * y) / 3 + 0.5)[..., None]
    pixels = (first * blend + second * (1 - blend)).astype(np.float32)
    for _ in range(rng.integers(3, 12)):
        colour = tuple(float(c) for c in rng.uniform(20, 235, 3))
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        axes = (int(rng.integers(8, width // 2)), int(rng.integers(4, height // 3)))
        if rng.random() < 0.5:
            cv2.ellipse(pixels, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1)
        else:
            cv2.rectangle(pixels, centre, (centre[0] + axes[0], centre[1] + axes[1]), colour, -1)
    pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(1.5, 8))
    coarse = rng.normal(0, rng.uniform(2, 14), (height // 8 + 1, width // 8 + 1, 3)).astype(np.float32)
    return pixels + cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


def _view(rng: Random, size: tuple[int, int]) -> np.ndarray:
    """Return the homography from page to image: each corner moved by up to 6 % of the side, and a slight turn."""
    width, height = size
    page = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    moved = page + rng.uniform(-0.06, 0.06, (4, 2)) * (width, height)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.normal(0, 4)), 0.92)
    return cv2.getPerspectiveTransform(page, (moved @ turn[:, :2].T + turn[:, 2]).astype(np.float32))


def _receipt(rng: Random, scene: _Scene, fonts: list[Path]) -> None:
    """A light sheet with rows of small dark print: headings, items with their prices, a total."""
    width, height = scene.size
    left, right = rng.uniform(0.04, 0.16) * width, rng.uniform(0.84, 0.96) * width
    sheet = np.array([[left, -height], [right, -height], [right, 2 * height], [left, 2 * height]])
    _fill(scene, sheet, rng.uniform(185, 250, 3))
    ink = rng.uniform(15, 85, 3)
    font, point = fonts[rng.integers(len(fonts))], rng.uniform(11, 16)
    y = rng.uniform(0.02, 0.1) * height
    headings = int(rng.integers(1, 4))
    while y < 0.95 * height:
        if headings > 0:
            row = [(_phrase(rng, 2), (left + right) / 2, 0.5)]
        elif rng.random() < 0.7:
            row = [(_phrase(rng, 2), left + 8, 0.0), (_number(rng), right - 8, 1.0)]
        else:
            row = [(_phrase(rng, 3), left + 8, 0.0)]
        large = point * (rng.uniform(1.1, 1.6) if headings > 0 else 1)
        for text, x, anchor in row:
            _write(scene, _Line(text, font, large, ink, (x, y), anchor, room=right - left - 8))
        headings -= 1
        y += large * rng.uniform(1.45, 2.1)


def _signs(rng: Random, scene: _Scene, fonts: list[Path]) -> None:
    """Lines of all sizes and directions, some of them on a plate."""
    width, height = scene.size
    for _ in range(int(rng.integers(10, 24))):
        font, point = fonts[rng.integers(len(fonts))], float(np.exp(rng.uniform(np.log(11), np.log(38))))
        centre = (rng.uniform(0.1, 0.9) * width, rng.uniform(0.05, 0.95) * height)
        text = _number(rng) if rng.random() < 0.25 else _phrase(rng, 3)
        turn = float(rng.normal(0, 7))
        plate = rng.uniform(20, 235, 3) if rng.random() < 0.3 else None
        colour = _contrasting(rng, scene, centre, plate)
        _write(scene, _Line(text, font, point, colour, centre, turn=turn, plate=plate))


def _phrase(rng: Random, most: int) -> str:
    words = [str(rng.choice(_WORDS)) for _ in range(int(rng.integers(1, most + 1)))]
    text = " ".join(words)
    return [text, text.title(), text.upper(), f"{text.title()} {rng.integers(1, 100)}"][rng.integers(4)]


def _number(rng: Random) -> str:
    whole, cents = int(rng.integers(0, 400)), int(rng.integers(0, 100))
    day, month = int(rng.integers(1, 29)), int(rng.integers(1, 13))
    amount, date = f"{whole}.{cents:02d}", f"{day:02d}/{month:02d}/2024"
    forms = [amount, f"${amount}", date, f"{cents:02d}-{whole:04d}"]
    return forms[rng.integers(len(forms))]


def _contrasting(rng: Random, scene: _Scene, centre: tuple[float, float], plate: np.ndarray | None) -> np.ndarray:
    """Return a colour that differs from what lies around `centre` by at least 55 of 255 in brightness."""
    if plate is None:
        x, y = _project(scene.view, np.array([centre]))[0].astype(int)
        patch = scene.pixels[max(0, y - 15) : y + 15, max(0, x - 50) : x + 50]
        plate = patch.reshape(-1, 3).mean(axis=0) if patch.size else np.full(3, 128.0)
    while True:
        colour = rng.uniform(0, 255, 3)
        if abs(float((colour - plate) @ _LUMA)) > 55:
            return colour


def _write(scene: _Scene, line: _Line) -> None:
    """Write one line where it fits into the image and touches no other line."""
    mask = _mask(line)
    width, height = mask.shape[1] / _SCALE, mask.shape[0] / _SCALE
    place = _placement(line, width, height)
    corners = np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])
    outward = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    quad = _project(scene.view @ place, corners + max(1.5, _MARGIN * height) * outward)
    if width > line.room or not _fits(scene, quad):
        return
    if line.plate is not None:
        _fill(scene, _project(place, corners + 6 * outward), line.plate)
    _paint(scene, mask, scene.view @ place, line.colour)
    scene.taken.append(quad)
    scene.labels.append({"transcription": line.text, "points": np.round(quad, 1).tolist()})


def _mask(line: _Line) -> np.ndarray:
    """Return the line's ink, uint8 [h, w], cut tightly, at `_SCALE` times its size on the page."""
    # Pillow's own layout: the other engine's version differs from machine to machine
    font = ImageFont.truetype(str(line.font), round(line.point * _SCALE), layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = font.getbbox(line.text)
    tile = Image.new("L", (round(right - left) + 4, round(bottom - top) + 4))
    ImageDraw.Draw(tile).text((2 - left, 2 - top), line.text, font=font, fill=255)
    return np.asarray(tile.crop(tile.getbbox()))


def _placement(line: _Line, width: float, height: float) -> np.ndarray:
    """Return the map from the line's own pixels to the page: turned about its anchor, which comes to lie at `at`."""
    angle = np.deg2rad(line.turn)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    place = np.eye(3)
    place[:2, :2] = turn
    place[:2, 2] = line.at - turn @ (line.anchor * width, height / 2)
    return place


def _project(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map points [k, 2] through a homography."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return mapped[:, :2] / mapped[:, 2:]


def _fits(scene: _Scene, quad: np.ndarray) -> bool:
    low, high = quad.min(axis=0), quad.max(axis=0)
    if (low < 1).any() or (high > np.array(scene.size) - 2).any():
        return False
    # lines closer than this to each other's sides would be one line to any detector
    gap = (5, 2)
    return all((low - gap > t.max(axis=0)).any() or (high + gap < t.min(axis=0)).any() for t in scene.taken)


def _fill(scene: _Scene, page_polygon: np.ndarray, colour: np.ndarray) -> None:
    """Paint a polygon given on the page in one colour."""
    points = np.round(_project(scene.view, page_polygon) * 16).astype(np.int32)
    cv2.fillPoly(scene.pixels, [points], tuple(float(c) for c in colour), cv2.LINE_AA, 4)


def _paint(scene: _Scene, mask: np.ndarray, to_image: np.ndarray, colour: np.ndarray) -> None:
    """Lay the mask, through a homography, over the image in one colour."""
    shrink = np.diag([1 / _SCALE, 1 / _SCALE, 1.0])
    smooth = cv2.GaussianBlur(mask, (0, 0), 0.4 * _SCALE)
    cover = cv2.warpPerspective(smooth, to_image @ shrink, scene.size).astype(np.float32)[..., None] / 255
    scene.pixels += cover * (colour.astype(np.float32) - scene.pixels)


def _photograph(rng: Random, pixels: np.ndarray) -> np.ndarray:
    """Add the faults of a photograph: uneven light, blur, grain."""
    height, width = pixels.shape[:2]
    slope = rng.uniform(-0.25, 0.25, 2)
    light = 1 + slope[0] * np.linspace(-1, 1, width) + slope[1] * np.linspace(-1, 1, height)[:, None]
    blurred = cv2.GaussianBlur(pixels * light[..., None].astype(np.float32), (0, 0), rng.uniform(0.2, 1.3))
    grain = rng.normal(0, rng.uniform(1, 14), pixels.shape)
    return np.clip(np.round(blurred + grain), 0, 255).astype(np.uint8)


def _jpeg(pixels: np.ndarray, quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return stream.getvalue()
