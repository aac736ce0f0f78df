"""How programs of Paddle upsample: by the convolutions that are faster here, with the same output."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from detection import DETECTION
from oracle import randomise
from paddle import nn
from rewritable import Parts, Pyramid

from ocrslim.config import load_config
from ocrslim.errors import RuntimeStartError
from ocrslim.export.rewriting import Rewriter, network, rewritten_network, upsampling
from ocrslim.inference import DygraphEngine, Rewriting, group_width


def built(make=Pyramid):
    paddle.seed(1)
    model = randomise(make())
    model.eval()
    return model


def upsamplings(model):
    """Channels and groups of the transposed convolutions that upsample."""
    layers = [one for one in model.sublayers() if isinstance(one, nn.Conv2DTranspose)]
    return {(one.weight.shape[0], one._groups) for one in layers if one._groups > 1}


@pytest.mark.parametrize(
    ("channels", "block", "width"),
    [
        (96, 1, 1),
        (96, 8, 16),
        (24, 8, 24),
        (80, 8, 16),
        (88, 8, 1),  # 11 blocks
        (8, 8, 1),
        (45, 8, 45),
        (96, 16, 32),
        (24, 16, 1),
        (80, 16, 1),
        (48, 16, 48),
    ],
)
def test_a_group_has_several_blocks_or_is_a_single_channel(channels, block, width):
    """Of one block it would be many times slower."""
    assert group_width(channels, block) == width and channels % width == 0


def test_groups_give_what_single_channels_give_to_the_last_bit():
    model = built()
    single, grouped = (
        rewritten_network(model, DETECTION, Rewriting(phases=False, upsampling=block)) for block in (1, 2)
    )
    assert upsamplings(single) != upsamplings(grouped) and upsamplings(grouped)
    image = np.random.default_rng(0).standard_normal((2, 3, 32, 64)).astype("float32")
    assert (DygraphEngine(single)(image) == DygraphEngine(grouped)(image)).all()


@pytest.fixture
def asked(monkeypatch):
    """The threads for which it was measured; the measurement finds blocks of 2."""
    asked = []
    monkeypatch.setattr(network, "upsampling_block", lambda threads: asked.append(threads) or 2)
    return asked


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("paddle", ["Export.threads=3"], [3]),
        ("pir", [], [1]),
        ("paddle", ["Export.runtime=openvino"], []),
        ("onnx", [], []),
    ],
)
def test_it_is_measured_for_programs_that_paddle_inference_will_run(v2_config, asked, kind, settings, expected):
    Rewriter(built(), load_config(v2_config, settings)).network(kind)
    assert asked == expected


def test_what_was_measured_as_faster_is_written(v2_config, asked):
    made = Rewriter(built(), load_config(v2_config)).network("paddle")
    assert upsamplings(made) == upsamplings(rewritten_network(built(), DETECTION, Rewriting(upsampling=2)))
    assert upsamplings(made) != upsamplings(rewritten_network(built(), DETECTION, Rewriting(upsampling=1)))


def test_a_network_without_upsampling_is_not_measured(v2_config, asked):
    Rewriter(built(Parts), load_config(v2_config)).network("paddle")
    assert not asked


@pytest.fixture
def fresh():
    upsampling.upsampling_block.cache_clear()
    yield
    upsampling.upsampling_block.cache_clear()


@pytest.mark.parametrize(("ratio", "faster"), [(0.7, True), (0.97, False), (7.0, False)])
def test_groups_are_taken_where_they_are_faster_and_not_by_chance(fresh, monkeypatch, ratio, faster):
    monkeypatch.setattr(upsampling, "_ratio", lambda block, threads: ratio)
    assert (upsampling.upsampling_block(1) > 1) is faster


def test_the_measurement_runs_and_draws_no_random_number(fresh):
    """What is trained after it would start from other numbers."""
    paddle.seed(5)
    before = paddle.get_rng_state()[0].current_seed(), paddle.rand([1]).item()
    paddle.seed(5)
    assert upsampling.upsampling_block(1) in (1, 8, 16)
    assert (paddle.get_rng_state()[0].current_seed(), paddle.rand([1]).item()) == before


def test_where_paddle_inference_does_not_start_nothing_is_measured(fresh, monkeypatch):
    def fails(*_):
        raise RuntimeStartError("no memory")

    monkeypatch.setattr(upsampling.Stand, "open", fails)
    assert upsampling.upsampling_block(1) == 1
