"""Averaged weights: the formula, what is evaluated and kept, and resuming."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from detection import DETECTION
from training import Stop, Tiny, assert_same, images, make_config, no_images, run, stop_after, tiny, weights

from ocrslim.config.config import load_config
from ocrslim.errors import ConfigError
from ocrslim.training.checkpointing.state_file import load_state
from ocrslim.training.optimization.ema import WeightAverage

__all__ = ["images", "no_images"]  # fixtures

EMA = "Optimizer.ema={decay: 0.7}"
Arrays = dict[str, np.ndarray]


def arrays(model: Tiny) -> Arrays:
    return {key: value.numpy().copy() for key, value in model.state_dict().items()}


def test_the_formula_by_hand_batch_norm_included() -> None:
    model = tiny()
    average = WeightAverage(model, 0.5)
    model.norm._mean.set_value(np.zeros(6, np.float32))
    average.start()
    expected = 0.0
    for step, value in ((1, 8.0), (2, 4.0), (9, 6.0)):  # decays of 2/11, 3/12 and, by then, 0.5
        model.norm._mean.set_value(np.full(6, value, np.float32))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    np.testing.assert_allclose(average.arrays()["norm._mean"], expected, rtol=1e-6)
    assert average.arrays().keys() == model.state_dict().keys()


def test_an_average_that_has_begun_does_not_begin_again() -> None:
    model = tiny()
    average = WeightAverage(model, 0.5)
    average.start()
    before = average.arrays()
    model.conv.bias.set_value(np.full(6, 9, np.float32))
    average.start()
    assert_same(average.arrays(), before, 0)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_the_models_own_weights_come_back(error: type[BaseException] | None) -> None:
    model = tiny()
    average = WeightAverage(model, 0.5)
    average.start()
    averaged = average.arrays()
    model.conv.bias.set_value(np.full(6, 9, np.float32))
    own = arrays(model)
    with contextlib.suppress(KeyboardInterrupt), average.applied(contextlib.nullcontext):
        assert_same(arrays(model), averaged, 0)
        assert average.exchanged
        if error:
            raise error
    assert_same(arrays(model), own, 0)
    assert not average.exchanged


def watched(model: Tiny, seen: list[Arrays]) -> Callable[[], dict[str, float]]:
    """An evaluation that keeps what it was given; later ones score higher."""

    def score() -> dict[str, float]:
        seen.append(arrays(model))
        return dict.fromkeys(DETECTION.metrics, len(seen) / 100)

    return score


@pytest.mark.usefixtures("no_images")
def test_averaged_weights_are_evaluated_and_kept_and_training_goes_on_without_them(
    images: Path, tmp_path: Path
) -> None:
    averaged, plain = tmp_path / "averaged" / "out", tmp_path / "plain" / "out"
    model, seen, raw = tiny(), [], []
    run(make_config(images, averaged, EMA), model, watched(model, seen))
    other = tiny()
    run(make_config(images, plain), other, watched(other, raw))
    assert_same(weights(averaged, "best_accuracy"), seen[-1], 0)
    assert_same(load_state(averaged / "latest.pdopt").average, seen[-1], 0)
    assert_same(arrays(model), seen[-1], 0)  # what `fit` leaves
    assert_same(weights(averaged), weights(plain), 0)  # the training weights are those of a run without
    with pytest.raises(AssertionError):
        assert_same(seen[-1], raw[-1])
    assert_same(seen[0], raw[0], 0)  # before the first step there is nothing to average


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("stop", [1, 2])
def test_stopped_and_resumed_ends_with_the_same_average(images: Path, tmp_path: Path, stop: int) -> None:
    whole, parts = tmp_path / "whole" / "out", tmp_path / "parts" / "out"
    run(make_config(images, whole, EMA))
    with pytest.raises(Stop):
        run(make_config(images, parts, EMA), evaluate=stop_after(stop))
    run(make_config(images, parts, EMA))
    assert_same(load_state(parts / "latest.pdopt").average, load_state(whole / "latest.pdopt").average, 0)
    assert_same(weights(parts), weights(whole), 0)


@pytest.mark.usefixtures("no_images")
def test_the_saved_average_matters(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: begun anew where the run was stopped, it is another one."""
    whole, parts = tmp_path / "whole" / "out", tmp_path / "parts" / "out"
    run(make_config(images, whole, EMA))
    with pytest.raises(Stop):
        run(make_config(images, parts, EMA), evaluate=stop_after(2))
    load = WeightAverage.load
    given = load_state(parts / "latest.pdopt")
    monkeypatch.setattr(
        WeightAverage,
        "load",
        lambda self, found: load(self, given.weights if found.keys() == given.average.keys() else found),
    )
    run(make_config(images, parts, EMA))
    with pytest.raises(AssertionError):
        assert_same(load_state(parts / "latest.pdopt").average, load_state(whole / "latest.pdopt").average)


@pytest.mark.usefixtures("no_images")
def test_ctrl_c_in_an_evaluation_saves_the_training_weights(images: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole" / "out", tmp_path / "parts" / "out"
    run(make_config(images, whole, EMA))
    with pytest.raises(KeyboardInterrupt):
        run(make_config(images, parts, EMA), evaluate=stop_after(2, KeyboardInterrupt))
    state = load_state(parts / "latest.pdopt")
    with pytest.raises(AssertionError):
        assert_same(state.weights, state.average)
    run(make_config(images, parts, EMA))
    assert_same(weights(parts), weights(whole), 0)


def test_the_key(images: Path, tmp_path: Path) -> None:
    config = make_config(images, tmp_path / "out", "Optimizer.ema={}")
    assert config.get("Optimizer.ema.decay") == 0.999
    with pytest.raises(
        ConfigError, match=r"Optimizer\.ema\.decay.*found 1, expected a number of at least 0 and below 1"
    ):
        load_config(config.path, ["Optimizer.ema.decay=1"])
