"""The runtime of each format, in which an export is proven."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from ocrslim.errors import ExportError, RuntimeStartError
from ocrslim.export.formats.lite import LITE, LITE_MODEL, X86, LiteEngine, write_lite
from ocrslim.export.formats.onnx import ONNX
from ocrslim.export.source import Source
from ocrslim.export.staging import model_files
from ocrslim.formats import onnx_runtime_lacks
from ocrslim.inference import InferenceEngine, OnnxEngine, Output


class Runtime(Protocol):
    """Runs an export; `kernels` names what it runs on."""

    @property
    def kernels(self) -> str: ...

    def __call__(self, image: np.ndarray) -> Output: ...


def runtimes(kind: str, folder: Path, source: Source) -> Iterator[Runtime]:
    """Yield what runs an export, the one that decides first: Paddle's own kernels before oneDNN's.

    Args:
        kind: its format.
        folder: its files.
        source: what it was made of.

    Raises:
        RuntimeStartError: it cannot be run here.
        WeightsError: the runtime does not take it.
    """
    if kind == ONNX:
        lacks = onnx_runtime_lacks()
        if lacks:
            raise RuntimeStartError(lacks)
        yield OnnxEngine(model_files(folder)[0])
    elif kind == LITE:
        yield _lite(source)
    else:
        for onednn in (False, True):
            yield InferenceEngine(folder, onednn=onednn, own=True)


def _lite(source: Source) -> LiteEngine:
    """Return the twin of a `.nb` file for the processor at hand: the file itself is for ARM."""
    python, twin = str(source.config.export.lite_python), source.scratch / LITE_MODEL
    try:
        write_lite(python, source.program_for_lite, twin, X86)
    except ExportError as error:
        raise RuntimeStartError(str(error)) from error
    return _Twin(python, twin)


class _Twin(LiteEngine):
    """Where it does not run, nothing is known of the file for ARM."""

    def __call__(self, image: np.ndarray) -> Output:
        try:
            return super().__call__(image)
        except ExportError as error:
            raise RuntimeStartError(str(error)) from error
