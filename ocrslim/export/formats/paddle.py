"""Paddle's own formats: the legacy one if the installed Paddle can write it, else PIR."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import paddle
from paddle import nn
from paddle.base.layer_helper import LayerHelper

from ocrslim.errors import ExportError
from ocrslim.graph import as_it_was
from ocrslim.inference import LEGACY_MODEL, PIR_MODEL
from ocrslim.utils import cause_of, postponed

logger = logging.getLogger(__name__)

LEGACY, PIR = "paddle", "pir"
MODELS = {LEGACY: LEGACY_MODEL, PIR: PIR_MODEL}


def save_inference(model: nn.Layer, prefix: Path, shape: Sequence[int]) -> str:
    """Write `model`, unchanged, in the legacy format if that succeeds, else as PIR.

    Args:
        prefix: path of the files without suffix.
        shape: shape of its input, -1 for dimensions that may vary.

    Returns:
        the format, `LEGACY` or `PIR`.
    """
    try:
        save_legacy(model, prefix, shape)
        return LEGACY
    except ExportError as error:
        logger.debug("%s", error)
    save_pir(model, prefix, shape)
    return PIR


def save_legacy(model: nn.Layer, prefix: Path, shape: Sequence[int]) -> None:
    """Write `model`, unchanged, in the legacy format; arguments as `save_inference`.

    Raises:
        ExportError: this paddlepaddle cannot write it.
    """
    try:
        with paddle.pir_utils.DygraphOldIrGuard(), _biases_that_fuse():
            _trace_and_write(model, prefix, shape)
    except OSError:
        raise
    except Exception as error:  # a TypeError in 3.2 and 3.3, deep in Paddle
        for partial in prefix.parent.glob(f"{prefix.name}.*"):
            partial.unlink()
        raise ExportError(
            f"paddlepaddle {paddle.__version__} cannot write the format paddle ({LEGACY_MODEL}) of this network "
            f"({cause_of(error)}): export with pir, or with paddlepaddle 3.1.1: pip install paddlepaddle==3.1.1"
        ) from error


def save_pir(model: nn.Layer, prefix: Path, shape: Sequence[int]) -> None:
    """Write `model`, unchanged, as PIR, also where Paddle's flag says otherwise; arguments as `save_inference`."""
    guard = contextlib.nullcontext if paddle.framework.use_pir_api() else paddle.pir_utils.DygraphPirGuard
    with guard():
        _trace_and_write(model, prefix, shape)


def guard_pir(folder: Path) -> None:
    """Keep PaddleOCR 2 from a folder with PIR: it downloads another model over what has no `inference.pdmodel`."""
    (folder / LEGACY_MODEL).touch()


def warn_of_pir() -> None:
    """Warn that the export is PIR, and name the programs that read it."""
    version = paddle.__version__
    logger.warning(
        f"paddlepaddle {version} cannot write the legacy format: exported {PIR_MODEL}, which Paddle Inference "
        f"({version} or later) and PaddleOCR 3 read; for PaddleOCR 2 and Paddle Lite export with paddlepaddle 3.1.1"
    )


@contextlib.contextmanager
def _biases_that_fuse() -> Iterator[None]:
    """Trace the biases of convolutions, transposed or not, as vectors that are added along the channels.

    Paddle 3 traces a reshaped copy instead, which no fusion pass of Paddle Inference matches: the bias and what is
    behind it would run as separate operators over the largest maps, an eighth of PP-OCRv2's time for its transposed
    convolutions alone.
    """
    homes: tuple[tuple[Any, str], ...] = (
        (paddle.nn.functional, "conv2d_transpose"),
        (paddle.nn.functional.conv, "_conv_nd"),
    )
    traced = [getattr(home, name) for home, name in homes]
    for (home, name), function in zip(homes, traced):
        setattr(home, name, _with_vector(function))
    try:
        yield
    finally:
        for (home, name), function in zip(homes, traced):
            setattr(home, name, function)


def _with_vector(convolve: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of Paddle's, but for what becomes of its bias."""
    signature = inspect.signature(convolve)

    def convolution(x: Any, weight: Any, bias: Any = None, *settings: Any, **options: Any) -> Any:
        given = signature.bind(x, weight, bias, *settings, **options).arguments
        if bias is None or str(given.get("data_format", "NC")).endswith("C"):
            return convolve(x, weight, bias, *settings, **options)
        made = convolve(x, weight, None, *settings, **options)
        helper = LayerHelper("elementwise_add")
        found = helper.create_variable_for_type_inference(made.dtype)
        helper.append_op(
            type="elementwise_add", inputs={"X": [made], "Y": [bias]}, outputs={"Out": [found]}, attrs={"axis": 1}
        )
        return found

    return convolution


def _trace_and_write(model: nn.Layer, prefix: Path, shape: Sequence[int]) -> None:
    spec = [paddle.static.InputSpec(shape=[None if size < 0 else size for size in shape], dtype="float32", name="x")]
    with postponed(), as_it_was(model, training=False):
        paddle.jit.save(paddle.jit.to_static(model, input_spec=spec, full_graph=True), str(prefix))
