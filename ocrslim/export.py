"""From a network to an inference folder, proven against the network it came from.

The folder appears whole or not at all: everything is written beside it, checked by running it, and
only then given its name.
"""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import yaml
from paddle import nn
from paddle.base.layer_helper import LayerHelper

from ocrslim.artifacts import (
    check_writable,
    locked_folder,
    named,
    remove_leftovers,
    write_error,
    write_json,
    write_text,
)
from ocrslim.config import Config
from ocrslim.engines import LEGACY_MODEL, PARAMS_FILE, PIR_MODEL, PLAIN, DygraphEngine, InferenceEngine
from ocrslim.errors import ArtifactError, ExportError
from ocrslim.graph.trace import as_it_was
from ocrslim.interrupts import postponed

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4
LEGACY, PIR = "legacy", "pir"
MODELS = {LEGACY: LEGACY_MODEL, PIR: PIR_MODEL}
FILES = (*MODELS.values(), PARAMS_FILE, f"{PARAMS_FILE}.info", "inference.yml", "export.json")
_FORMER = ".old"
_CHOOSE = "choose an empty folder, or one that is not there yet, with -o Global.save_inference_dir=PATH"
# a name that PaddleOCR 3's TextDetection knows: it refuses models of any other
DEFAULT_MODEL_NAME = "PP-OCRv3_mobile_det"


@dataclass(frozen=True)
class Exported:
    """A proven export.

    Attributes:
        folder: what clients load.
        format: `LEGACY` (`inference.pdmodel`) or `PIR` (`inference.json`).
        differences: kernels that ran -> largest absolute difference of the shrink map to the source's.
        bytes: size of the model and its parameters.
    """

    folder: Path
    format: str
    differences: Mapping[str, float]
    bytes: int


def export(model: nn.Layer, config: Config, folder: Path, image: np.ndarray, origin: Mapping[str, Any]) -> Exported:
    """Write `model` as an inference model with dynamic batch and size, and prove it on `image`.

    The format is the legacy one, which most clients read, where paddlepaddle can write it, and PIR where it
    cannot (3.2 and later).

    Args:
        model: the source, weights loaded; unchanged.
        image: a preprocessed photograph, float32 [1, 3, H, W].
        origin: what goes into `export.json` beside the differences.

    Raises:
        ExportError: the exported model differs from `model` by more than `TOLERANCE`.
        ArtifactError: `folder` cannot be written, or holds files that are not an export's.
    """
    folder = _target(folder)
    _check_target(folder)
    with _staging(folder) as staged:
        kind = save_inference(model, staged / "inference")
        if kind == PIR:
            _tell_of_pir()
        write_text(staged / "inference.yml", yaml.safe_dump(client_settings(config), sort_keys=False))
        differences = verify(model, staged, image)
        size = sum((staged / name).stat().st_size for name in (MODELS[kind], PARAMS_FILE))
        proof = {"format": kind, "paddlepaddle": paddle.__version__, "max_difference": differences}
        write_json(staged / "export.json", {**origin, **proof, "tolerance": TOLERANCE, "config": config.tree})
        _put_in_place(staged, folder)
    return Exported(folder, kind, differences, size)


def verify(model: nn.Layer, folder: Path, image: np.ndarray) -> dict[str, float]:
    """Run the export in `folder` on `image`, without oneDNN and, where that runs, with it; compare with `model`.

    Paddle's own kernels decide; oneDNN's rounding alone comes near the tolerance where features are large
    (PP-OCRv2's reach 1900: 9e-5 on a page), so its difference is reported.

    Returns:
        kernels that ran (`InferenceEngine.kernels`) -> largest absolute difference of the shrink map.

    Raises:
        ExportError: Paddle Inference without oneDNN is off by more than `TOLERANCE`.
    """
    expected = DygraphEngine(model)(image)
    differences = {}
    for onednn in (False, True):
        engine = InferenceEngine(folder, onednn=onednn, own=True)
        difference = _difference(engine(image), expected)
        if engine.kernels not in differences:
            differences[engine.kernels] = difference
            logger.info("%s: largest difference to the source %.2e", engine.kernels, difference)
    reference, fast = differences[PLAIN], max(differences.values())
    if not reference <= TOLERANCE:
        raise ExportError(
            f"{folder.name}: the exported model differs from the source by {reference:.2e}, expected at most "
            f"{TOLERANCE:g}: it is not usable and was removed; check the version of paddlepaddle "
            "(requirements.txt) and that nothing else writes to the checkpoint"
        )
    if not fast <= TOLERANCE:
        logger.warning("with oneDNN the export is off by %.2e, more than %g: prefer it without", fast, TOLERANCE)
    return differences


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference; infinite where the shapes differ."""
    return float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")


def client_settings(config: Config) -> dict[str, Any]:
    """What clients need beside the network, in the form of PaddleOCR 3's `inference.yml`."""
    transforms = config.section("Eval").get("dataset", {}).get("transforms", [])
    return {
        "Global": {"model_name": config.get("Global.model_name") or DEFAULT_MODEL_NAME},
        "PreProcess": {"transform_ops": transforms},
        "PostProcess": config.section("PostProcess"),
    }


def save_inference(model: nn.Layer, prefix: Path) -> str:
    """Write the model in the legacy format where that succeeds, else as PIR; which of them. `model` is unchanged."""
    try:
        with paddle.pir_utils.DygraphOldIrGuard(), _biases_that_fuse():
            _trace_and_write(model, prefix)
        return LEGACY
    except OSError:
        raise
    except Exception as error:  # a TypeError in 3.2 and 3.3, deep in Paddle
        logger.debug("legacy export: %s", error)
    for partial in prefix.parent.glob(f"{prefix.name}.*"):
        partial.unlink()
    _trace_and_write(model, prefix)
    return PIR


def _tell_of_pir() -> None:
    version = paddle.__version__
    logger.warning(
        f"paddlepaddle {version} cannot write the legacy format: exported {PIR_MODEL}, which Paddle Inference "
        f"({version} or later) and PaddleOCR 3 read; for PaddleOCR 2 and Paddle Lite export with paddlepaddle 3.1.1"
    )


@contextlib.contextmanager
def _biases_that_fuse() -> Iterator[None]:
    """Have the biases of transposed convolutions traced as vectors that are added along the channels.

    Paddle 3 traces a reshaped copy instead, which none of the passes of Paddle Inference knows: the bias and the batch
    norm behind it then run by themselves over the largest maps there are, an eighth of PP-OCRv2's time.
    """
    functional = paddle.nn.functional
    traced = functional.conv2d_transpose

    def conv2d_transpose(x: Any, weight: Any, bias: Any = None, **options: Any) -> Any:
        made = traced(x, weight, **options)
        if bias is None:
            return made
        helper = LayerHelper("elementwise_add")
        found = helper.create_variable_for_type_inference(made.dtype)
        helper.append_op(
            type="elementwise_add", inputs={"X": [made], "Y": [bias]}, outputs={"Out": [found]}, attrs={"axis": 1}
        )
        return found

    functional.conv2d_transpose = conv2d_transpose
    try:
        yield
    finally:
        functional.conv2d_transpose = traced


def _trace_and_write(model: nn.Layer, prefix: Path) -> None:
    spec = [paddle.static.InputSpec(shape=[None, 3, None, None], dtype="float32", name="x")]
    with postponed(), as_it_was(model, training=False):
        paddle.jit.save(paddle.jit.to_static(model, input_spec=spec, full_graph=True), str(prefix))


def _target(folder: Path) -> Path:
    """The folder that `folder` names: where it is a link, what that leads to.

    Raises:
        ArtifactError: no folder can be there.
    """
    if "\0" in str(folder):
        raise ArtifactError(f"{named(folder)}: has a NUL, which no path can have: {_CHOOSE}")
    try:
        is_link = folder.is_symlink()
    except OSError as error:  # a name that is too long
        raise write_error(folder, error) from error
    if not is_link:
        return folder
    target = Path(os.path.realpath(folder))
    if target.is_symlink():  # that is where a circle of links ends up
        raise ArtifactError(f"{named(folder)}: is a link in a circle of links: {_CHOOSE}")
    return target


def _check_target(folder: Path) -> None:
    check_writable(folder.parent)
    try:
        _restore_former(folder)
        if os.path.lexists(folder) and not folder.is_dir():
            raise ArtifactError(f"{named(folder)}: is no folder: {_CHOOSE}")
        if folder.is_mount():
            raise ArtifactError(f"{named(folder)}: is a mount point, which cannot be replaced: choose a folder in it")
        foreign = sorted(p.name for p in folder.iterdir() if p.name not in FILES) if folder.is_dir() else []
    except OSError as error:
        raise write_error(folder, error) from error
    if foreign:
        raise ArtifactError(
            f"{named(folder)}: holds other files ({', '.join(map(named, foreign[:5]))}), which an export would mix "
            f"with: {_CHOOSE}"
        )


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    remove_leftovers(folder.parent, glob.escape(folder.name))
    try:
        with locked_folder(folder.parent, f".{folder.name}.") as staged:
            staged.chmod(0o755)
            yield staged
    except OSError as error:
        raise write_error(folder, error) from error


def _restore_former(folder: Path) -> None:
    """Give an export its name back that a kill took away between the two moves of `_put_in_place`."""
    for former in folder.parent.glob(f".{glob.escape(folder.name)}.????????{_FORMER}"):
        if folder.exists():
            shutil.rmtree(former, ignore_errors=True)
        else:
            former.rename(folder)


def _put_in_place(staged: Path, folder: Path) -> None:
    """Swap `staged` for `folder`, so that no moment shows files of two exports together."""
    old = staged.with_name(staged.name + _FORMER)
    try:
        if folder.is_dir():
            folder.rename(old)
        staged.rename(folder)
    except OSError as error:
        if old.is_dir() and not folder.exists():
            old.rename(folder)
        raise write_error(folder, error) from error
    shutil.rmtree(old, ignore_errors=True)
