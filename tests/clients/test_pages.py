"""What docs/deploy tells people to write, run letter by letter beside an export: it finds what the source finds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_cases import Case
from programs import CLIENTS, REPO, Program, corners

from ocrslim.inference import DygraphEngine
from ocrslim.pruning import load_network

pytestmark = pytest.mark.slow
# page -> what a block imports or, on a command line, starts -> the environments that it is run in
PAGES: Mapping[str, Mapping[str, tuple[Program, ...]]] = {
    "paddleocr2.md": {"paddleocr": (Program("paddleocr 2.10"),)},
    "paddleocr3.md": {"paddleocr": tuple(Program("paddleocr 3", place) for place in ("paddleocr", "paddle33"))},
    "rapidocr.md": {
        "rapidocr": (Program("rapidocr 3", "rapidocr"),),
        "rapidocr_paddle": (Program("rapidocr-paddle 1.4", "rapidocr_paddle"),),
    },
    "runtimes.md": {
        **{name: (Program(name, "runtimes"),) for name in ("onnxruntime", "openvino", "cv2")},
        "paddle": tuple(Program("Paddle Inference", place) for place in ("paddleocr", "paddle33")),
        "onnxruntime-node": (Program("ONNX Runtime, Node"),),
    },
}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SUBJECT = re.compile(r"^(?:from |import (?:\w+ from )?\"?)?([\w-]+)")
BOXES_OF_PYTHON = "\nimport json, numpy\nprint(json.dumps(numpy.asarray(boxes).tolist()))\n"
ARRAYS_OF_PYTHON = '\nnumpy.savez("arrays.npz", image=image, output=output)\n'
IMAGE_OF_NODE = """
import {{ readFile as read_, writeFile as write_ }} from "node:fs/promises";
const values_ = new Float32Array(new Uint8Array(await read_("image.bin")).buffer);
const image = new ort.Tensor("float32", values_, {shape});
"""
OUTPUT_OF_NODE = '\nawait write_("output.bin", new Uint8Array(output.data.buffer));\n'


@dataclass(frozen=True)
class Block:
    """A block of code of a page, and a program that it is run in; `before` has what it is preceded by."""

    page: str
    language: str
    text: str
    program: Program
    before: str = ""

    def __str__(self) -> str:
        return f"{self.page}, {self.language or 'shell'}, {self.program}"


def blocks() -> list[Block]:
    """Return what the pages have; of runtimes.md the first block prepares the image for the others."""
    found = []
    for page, programs in PAGES.items():
        text = (REPO / "docs/deploy" / page).read_text(encoding="utf-8")
        parts = BLOCK.findall(text)
        before = parts.pop(0)[1] if page == "runtimes.md" else ""
        for language, code in parts:
            subject = SUBJECT.findall(code)[0]
            found += [Block(page, language, code, program, before) for program in programs[subject]]
    return found


@pytest.fixture
def place(detected, recognised, classified, tmp_path) -> Path:
    """A folder with exports and an image, called as the pages call them."""
    for name, case in (("inference_model", detected), ("recogniser", recognised), ("classifier", classified)):
        (tmp_path / name).symlink_to(case.folder("paddle"))
    shutil.copyfile(detected.image, tmp_path / "image.jpg")
    return tmp_path


def ran(block: Block, words: list[str], place: Path) -> str:
    """Run a command where the program of a block is installed; return what it prints."""
    home = Path(block.program.python).parent
    variables = {"PATH": f"{home}{os.pathsep}{os.environ['PATH']}", "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True"}
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, env={**os.environ, **variables})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def run_python(block: Block, place: Path) -> tuple[Any, Any]:
    """Return boxes and None, or the image and the output of a network."""
    gives_boxes = not block.before
    tail = BOXES_OF_PYTHON if gives_boxes else ARRAYS_OF_PYTHON
    (place / "block.py").write_text(block.before + block.text + tail, encoding="utf-8")
    said = ran(block, [block.program.python, "-W", "ignore", "block.py"], place)
    if gives_boxes:
        return json.loads(next(line for line in reversed(said.splitlines()) if line.startswith("[["))), None
    with np.load(place / "arrays.npz") as arrays:
        return arrays["image"], arrays["output"]


def run_node(block: Block, place: Path, image: np.ndarray) -> np.ndarray:
    (place / "node_modules").symlink_to(CLIENTS / "node/node_modules")
    (place / "image.bin").write_bytes(image.tobytes())
    first, _, rest = block.text.partition("\n")
    code = first + IMAGE_OF_NODE.format(shape=list(image.shape)) + rest + OUTPUT_OF_NODE
    (place / "block.mjs").write_text(code, encoding="utf-8")
    ran(block, ["node", "block.mjs"], place)
    return np.frombuffer((place / "output.bin").read_bytes(), np.float32)


@pytest.mark.parametrize("block", blocks(), ids=str)
def test_a_block_of_a_page_does_what_the_page_says(block: Block, detected: Case, detector, place):
    block.program.require()
    if block.language == "js":
        output = run_node(block, place, detected.sample.image)
        assert np.abs(output - detected.output.ravel()).max() < 3e-4
    elif block.language == "python":
        found, output = run_python(block, place)
        if output is None:
            assert corners(found) == corners(detected.found)
        else:
            expected = DygraphEngine(load_network(detector()).model)(found)
            assert expected.max() > 0.9 and np.abs(output - expected).max() < 3e-4
    else:
        numbers = [
            float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", ran(block, ["sh", "-c", block.text], place))
        ]
        for box in corners(detected.found):
            assert any(numbers[i : i + 8] == box for i in range(len(numbers))), box


def test_every_block_of_every_page_is_run():
    """A page of a program that no test knows would not be."""
    others = {path.name for path in (REPO / "docs/deploy").glob("*.md")} - {*PAGES}
    assert others == {"README.md", "rewriting.md"}
    for name in others:
        assert not re.search(r"^```\w+$", (REPO / "docs/deploy" / name).read_text(encoding="utf-8"), re.MULTILINE), name
