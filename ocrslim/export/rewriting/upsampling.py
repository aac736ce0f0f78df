"""How programs of Paddle upsample: by the transposed convolutions that are fastest here, as measured."""

from __future__ import annotations

import functools
import logging
import statistics
from pathlib import Path

import paddle
import paddle.nn.functional as F
from paddle import nn

from ocrslim.errors import WeightsError
from ocrslim.export.formats.paddle import MODELS, save_inference
from ocrslim.inference import Pass, Stand, group_width
from ocrslim.utils import has_instructions, scratch_folder

logger = logging.getLogger(__name__)

_PADDLE = "paddle"  # Paddle Inference
_CHANNELS, _FACTOR = 96, 2  # of the necks of PP-OCR's detectors
_SHAPE = (1, 3, 640, 640)
_WARM_UP, _ROUNDS = 2, 5
_LEAST = 1e-6  # milliseconds
_GAIN = 0.95  # of the time of single channels: above it, chance says which is faster


@functools.cache
def upsampling_block(threads: int) -> int:
    """Return the block of channels by which Paddle Inference upsamples fastest here; see `group_width`.

    It is the processor's own, or 1, for single channels, where groups of such blocks do not run faster. Which is the
    case is measured on the end of a detector's neck, in turns, once in a process; a second or two.

    Args:
        threads: of Paddle Inference.
    """
    block = 16 if has_instructions("avx512f") else 8
    try:
        ratio = _ratio(block, threads)
    except WeightsError as error:  # Paddle Inference does not start here
        logger.debug("upsampling was not timed: %s", error)
        return 1
    chosen = block if ratio < _GAIN else 1
    logger.info(
        "Paddle Inference upsamples by transposed convolutions of %s (groups take %.2f of the time of single channels)",
        "single channels" if chosen == 1 else f"groups of at least {2 * block} channels",
        ratio,
    )
    return chosen


class _NeckEnd(nn.Layer):
    """A coarse map that is upsampled and added to a fine one, between convolutions."""

    def __init__(self, block: int):
        super().__init__()
        # weights of one number, as random ones would take from the seed of what is trained later
        plain = {"weight_attr": nn.initializer.Constant(0.01), "bias_attr": False}
        groups = _CHANNELS // group_width(_CHANNELS, block)
        self.fine = nn.Conv2D(_SHAPE[1], _CHANNELS, 1, stride=4, **plain)
        self.coarse = nn.Conv2D(_CHANNELS, _CHANNELS, 1, stride=_FACTOR, **plain)
        self.up = nn.Conv2DTranspose(_CHANNELS, _CHANNELS, _FACTOR, stride=_FACTOR, groups=groups, **plain)
        self.out = nn.Conv2D(_CHANNELS, 24, 1, **plain)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        fine = F.relu(self.fine(image))
        return self.out(F.relu(fine + self.up(F.relu(self.coarse(fine)))))


def _ratio(block: int, threads: int) -> float:
    """Return the CPU time with groups of blocks relative to that with single channels: the median of passes in turns.

    Raises:
        WeightsError: Paddle Inference does not start.
    """
    stand, blocks = Stand(_PADDLE, threads), (1, block)
    with scratch_folder() as scratch:
        for width in blocks:
            list(stand.open(width, _written(_NeckEnd(width), scratch / str(width)), True))
    passes = [one for one in stand.time(blocks, _SHAPE, _ROUNDS, _WARM_UP) if isinstance(one, Pass)]
    single, grouped = ([one.cpu for one in passes if one.network == width] for width in blocks)
    return statistics.median(time / max(other, _LEAST) for time, other in zip(grouped, single))


def _written(network: nn.Layer, folder: Path) -> Path:
    folder.mkdir()
    network.eval()
    return folder / MODELS[save_inference(network, folder / "inference", (-1, _SHAPE[1], -1, -1))]
