"""The runtimes of exported networks: what each reads, whether it is installed, and how it is opened to be timed.

They are opened as a client would run them at its best: Paddle Inference with oneDNN; OpenVINO in float32, as its
bfloat16 changes results; denormal numbers (below 1e-38) taken as zero. Paddle Inference and OpenVINO always do that.
ONNX Runtime computes with them, at a hundredth of its speed, unless a program sets `session.set_denormal_as_zero`,
as is done here: two convolutions of PP-OCRv6 small det otherwise take 530 of 890 ms, and a network that has lost
their channels seems faster than it is.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

from ocrslim.errors import OcrSlimError, WeightsError
from ocrslim.formats import ONNX_SUFFIX, exported_files, named_network
from ocrslim.inference.engines import Engine, InferenceEngine
from ocrslim.inference.exported import check_exported
from ocrslim.inference.onnx_engine import OnnxEngine
from ocrslim.inference.openvino_engine import OpenVinoEngine
from ocrslim.utils import has_instructions

_LEGACY, _PIR = ".pdmodel", ".json"
_FOLDERS = ("paddle", "pir", "onnx")  # of an export's further formats, in its own
_STEM = "inference"


class NamedEngine(Engine, Protocol):
    """An engine that says which kernels run."""

    kernels: str


@dataclass(frozen=True)
class Runtime:
    """A program that runs exported networks.

    Attributes:
        title: its name, for people.
        module: what is imported.
        package: what is installed.
        suffixes: of the files that it reads.
        blocks: channels that it computes at a time with AVX-512, and without; see `block`.
        open: opens one: the file, the number of threads, and whether this program has just written it; any other is
            checked first. Raises `WeightsError`.
    """

    title: str
    module: str
    package: str
    suffixes: tuple[str, ...]
    blocks: tuple[int, int]
    open: Callable[[Path, int, bool], NamedEngine]

    @property
    def installed(self) -> bool:
        """Whether it can be imported."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def block(self) -> int:
        """Channels that it computes at a time on this processor: what `Prune.align` is where nothing says.

        ONNX Runtime pads what a convolution reads and writes to whole blocks (`MlasNchwcGetBlockSize`), so that 18
        channels take as long as 32. oneDNN, which the others use, pads what it writes to 16 as well, but reads any
        number: multiples of 8 still save (benchmarks/README.md).
        """
        wide, narrow = self.blocks
        return wide if has_instructions("avx512f") else narrow

    @property
    def version(self) -> str:
        """The version of its package; "unknown" where nothing says."""
        with contextlib.suppress(PackageNotFoundError):
            return version(self.package)
        return "unknown"

    def require(self) -> None:
        """Require that it is installed.

        Raises:
            OcrSlimError: it is not; with the command that installs it.
        """
        if not self.installed:
            raise OcrSlimError(f"{self.title} is not installed: pip install {self.package}")

    def file_of(self, export: str | Path) -> Path:
        """Return the file of an export that it reads; of a folder also one in its folders of further formats.

        Raises:
            WeightsError: there is none.
        """
        path = Path(export)
        if not path.is_dir():
            path = exported_files(path)[0]
            if path.suffix in self.suffixes:
                return path
        for place in (path, *(path / name for name in _FOLDERS)):
            for suffix in self.suffixes:
                found = _networks(place, suffix)
                if found:
                    return found
        exported_files(named_network(path))  # which says so where it is no export at all
        raise WeightsError(
            f"{export}: {self.title} reads {' and '.join(self.suffixes)}, and it has none: export it in that format "
            "too, with Export.formats"
        )


def _networks(folder: Path, suffix: str) -> Path | None:
    """Return the network of a folder in a format; None without one."""
    files = sorted(folder.glob(f"*{suffix}"))
    if suffix != ONNX_SUFFIX:  # a .json may be anything, and an empty .pdmodel guards a folder against PaddleOCR 2
        files = [file for file in files if file.stat().st_size and file.with_suffix(".pdiparams").is_file()]
    named = [file for file in files if file.stem == _STEM]
    if len(files) > 1 and not named:
        raise WeightsError(f"{folder}: holds {len(files)} networks in {suffix}, expected one: name the file")
    return next(iter([*named, *files]), None)


def _paddle(path: Path, threads: int, own: bool) -> NamedEngine:
    return InferenceEngine(path, threads, onednn=True, own=own, as_client=True)


def _onnxruntime(path: Path, threads: int, own: bool) -> NamedEngine:
    if not own:
        check_exported(path)
    return OnnxEngine(path, threads, zero_denormals=True)


def _openvino(path: Path, threads: int, own: bool) -> NamedEngine:
    if not own:
        check_exported(path)
    return OpenVinoEngine(path, threads, zero_denormals=True)


RUNTIMES: Mapping[str, Runtime] = {
    "paddle": Runtime("Paddle Inference", "paddle", "paddlepaddle", (_LEGACY, _PIR), (8, 8), _paddle),
    "onnxruntime": Runtime("ONNX Runtime", "onnxruntime", "onnxruntime", (ONNX_SUFFIX,), (16, 8), _onnxruntime),
    "openvino": Runtime("OpenVINO", "openvino", "openvino", (ONNX_SUFFIX, _LEGACY), (8, 8), _openvino),
}
