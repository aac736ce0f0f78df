"""The notebook runs from its first cell to its last, and shows its pictures."""

from __future__ import annotations

import base64
import re
import shutil

import cv2
import numpy as np
import pytest

nbformat = pytest.importorskip("nbformat")


SMALLER = {
    '("train", 16, 1), ("val", 8, 2)': '("train", 4, 1), ("val", 4, 2)',
    'EastRandomCropData.size": [320, 320]': 'EastRandomCropData.size": [96, 96]',  # a refit's time grows with them
    "320, 320": "224, 224",
    "recover_images=8": "recover_images=4",
    'layers=["conv1*", "neck.*", "head.*"]': 'layers=["neck.*", "head.*"]',
}


def smaller(source: str) -> str:
    """A cell with fewer and smaller images, and fewer layers."""
    for words, others in SMALLER.items():
        source = source.replace(words, others)
    return source


@pytest.mark.slow
def test_the_quickstart_runs(repo, pp_ocrv2, tmp_path):
    """In a copy of what it reads, so that nothing is left in the repository."""
    from nbclient import NotebookClient

    for name in ("examples", "configs"):
        shutil.copytree(repo / name, tmp_path / name)
    notebook = nbformat.read(tmp_path / "examples/quickstart.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = smaller(cell.source)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path / "examples")}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    text = "\n".join(str(output.get("text", "")) for cell in cells for output in cell.outputs)
    results = [output["data"] for cell in cells for output in cell.outputs if "data" in output]
    pictures = [base64.b64decode(data["image/png"]) for data in results if "image/png" in data]
    assert len(pictures) == 3, "a detection before, the sensitivities, a detection after"
    assert all(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None for data in pictures)
    before, after = map(int, re.search(r"([\d,]+) -> ([\d,]+) multiply", text.replace(",", "")).groups())
    assert after <= 0.7 * before
    assert (tmp_path / "output/quickstart/inference/inference.pdiparams").is_file()


def test_the_notebook_is_kept_without_outputs(repo):
    notebook = nbformat.read(repo / "examples/quickstart.ipynb", as_version=4)
    sources = "".join(cell.source for cell in notebook.cells)
    assert all(words in sources for words in SMALLER), "what the test above makes smaller"
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook.cells)
