"""`deploy/web` in headless Chromium: used by keyboard, on a phone and by dropping, it finds the boxes of Python."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from browsing import REPO, require_browser, seen_in_browser
from exports import (
    assert_same,
    boxes_of_python,
    configured,
    dark_is_text,
    page_and_turned,
    write_settings,
)

pytestmark = pytest.mark.slow
TYPES = {**SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm", ".js": "text/javascript"}


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = TYPES

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    require_browser("esbuild", "onnxruntime-web")


def built(model: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = ["npm", "run", "--silent", "build", "--", str(model), str(out)]
    return subprocess.run(command, cwd=REPO / "deploy/web", capture_output=True, text=True)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files of a folder; yield the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def used(model: Path, images: list[Path], folder: Path) -> dict[str, Any]:
    """Build the page with a model and use it; return what it showed, and what it asked for."""
    done = built(model, folder / "site")
    assert done.returncode == 0, done.stderr
    with served(folder / "site") as url:
        return {"url": url, **seen_in_browser(REPO / "tests/deploy/web_page.mjs", url, folder, *images)}


def boxes_in(seen: dict[str, Any]) -> dict[str, Any]:
    return {name: each["boxes"] for name, each in seen["images"].items()}


@pytest.fixture(scope="module")
def seen(onnx_export, images, tmp_path_factory) -> dict[str, Any]:
    """The page with a real detector: the page of a book by keyboard, the receipts on a phone and by dropping."""
    pages = sorted(images.iterdir(), key=lambda path: path.suffix, reverse=True)
    return used(onnx_export, pages, tmp_path_factory.mktemp("web"))


def test_a_real_detector_finds_the_boxes_of_python(seen, onnx_export, images, tmp_path):
    expected = boxes_of_python(onnx_export, configured(), images, tmp_path)
    assert_same(boxes_in(seen), expected, pixels=1)


def test_other_weights_find_other_boxes(seen, paddle_export, images, tmp_path):
    expected = boxes_of_python(paddle_export, configured(), images, tmp_path)
    with pytest.raises(AssertionError):
        assert_same(boxes_in(seen), expected, pixels=1)


def test_boxes_and_milliseconds_are_shown(seen):
    for name, each in seen["images"].items():
        assert each["ready"].startswith("Ready: ") and each["status"].startswith(f"{name}: {len(each['boxes'])} box")
        assert each["drawn"] == len(each["boxes"]) and not each["wider"]
        assert int(each["milliseconds"].removesuffix(" ms").replace(",", "")) > 0
    assert not seen["faults"]


def test_nothing_is_asked_of_the_network(seen):
    own = (seen["url"], f"blob:{seen['url']}")
    assert seen["requests"] and all(address.startswith(own) for address in seen["requests"])
    for each in seen["images"].values():
        assert all(address.startswith("blob:") for address in each["requests"])  # the image, once the page is there


@pytest.mark.parametrize(
    "changes",
    [
        [
            "Eval.dataset.transforms.DetResizeForTest={resize_long: 384}",
            "PostProcess.use_dilation=true",
            "PostProcess.box_thresh=0.2",
        ],
        [
            "Eval.dataset.transforms.DetResizeForTest={image_shape: [192, 384]}",
            "PostProcess.unclip_ratio=2.2",
            "PostProcess.box_thresh=0.1",
        ],
        ["Eval.dataset.transforms.DecodeImage.img_mode=RGB", "PostProcess.thresh=0.5", "PostProcess.box_thresh=0.5"],
    ],
)
def test_the_settings_of_an_export_are_read_from_it(changes, page, tmp_path):
    config, images = configured(changes), page_and_turned(tmp_path / "images", page)
    model = dark_is_text(tmp_path / "model", config)
    expected = boxes_of_python(model, config, images, tmp_path / "out")
    found = boxes_in(used(model, sorted(images.iterdir()), tmp_path))
    assert_same(found, expected, pixels=1, astray=0.02)  # specks: of two rectangles of one area either may be taken


def test_errors_are_one_line(page, tmp_path):
    model, image = dark_is_text(tmp_path / "model", configured()), tmp_path / "image.png"
    done = built(tmp_path / "nothing", tmp_path / "site")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith("error: ") and "nothing: expected a folder with an .onnx" in line
    image.write_text("no image")
    assert _told(model, image, tmp_path) == "image.png: not an image that this browser reads"
    write_settings(model, configured(["PostProcess.box_type=poly"]))
    shutil.copy(page, image)
    expected = "inference.yml: box_type: found poly, which this page does not know"
    assert _told(model, image, tmp_path) == f"image.png: {expected}"


def _told(model: Path, image: Path, folder: Path) -> str:
    return used(model, [image], folder)["images"][image.name]["status"]
