"""Paddle Lite's `.nb` files, by its optimiser, in the Python that has it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from ocrslim.export.formats.child import run_converter
from ocrslim.inference import Output, output_from
from ocrslim.utils import scratch_folder

LITE = "lite"
LITE_MODEL = "inference.nb"
LITE_X86 = "paddle_lite_x86"
ARM, X86 = "arm", "x86"
_SECONDS = 300
_REMEDY = "run `make setup-lite`, and name it with -o Export.lite_python=build/deploy/lite/bin/python"
_RUN = Path(__file__).with_name("lite_process.py")
_OPTIMISE = """
import sys
from paddlelite.lite import Opt
program, weights, target, kind = sys.argv[1:]
opt = Opt()
opt.set_model_file(program)
opt.set_param_file(weights)
opt.set_valid_places(kind)
opt.set_optimize_out(target)
opt.run()
"""


def lite_lacks(python: str | None) -> str | None:
    """Return what keeps `.nb` files from being written here, and the command that helps; None if nothing does."""
    if python is None:
        return f"Export.lite_python names no Python with Paddle Lite: {_REMEDY}"
    try:
        done = subprocess.run(
            [python, "-c", "from paddlelite import lite"], capture_output=True, text=True, timeout=_SECONDS
        )
    except OSError as error:
        return f"Export.lite_python: {python} cannot be started ({error.strerror}): {_REMEDY}"
    except subprocess.TimeoutExpired:
        return f"Export.lite_python: {python} did not load Paddle Lite within {_SECONDS} s: {_REMEDY}"
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1][:200]
        return f"Export.lite_python: {python} has no Paddle Lite ({said}): {_REMEDY}"
    return None


def write_lite(python: str, program: Path, target: Path, processor: str) -> None:
    """Convert a legacy inference model.

    Args:
        python: the interpreter with Paddle Lite.
        program: its `.pdmodel`.
        target: the file to write, `.nb`.
        processor: `ARM` or `X86`.

    Raises:
        ExportError: the optimiser fails on it.
    """
    words = [str(program), str(program.with_suffix(".pdiparams")), str(target.with_suffix("")), processor]
    run_converter("Paddle Lite's optimiser", [python, "-c", _OPTIMISE, *words], target)


class LiteEngine:
    """A `.nb` file for x86, each image in a process of its own: a predictor runs one size.

    Attributes:
        kernels: `LITE_X86`.
    """

    kernels = LITE_X86

    def __init__(self, python: str, model: Path):
        self._python, self._model = python, model

    def __call__(self, image: np.ndarray) -> Output:
        """Run the model.

        Raises:
            ExportError: Paddle Lite does not run it.
        """
        with scratch_folder() as place:
            np.save(place / "image.npy", image)
            found = place / "outputs.npz"
            words = [str(_RUN), str(self._model), str(place / "image.npy"), str(found)]
            run_converter("Paddle Lite for x86", [self._python, *words], found)
            with np.load(found) as outputs:
                return output_from([outputs[name] for name in outputs.files])
