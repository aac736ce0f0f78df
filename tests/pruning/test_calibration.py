"""What a few training images give: gradients for the criterion `taylor`, and cut-outs to refit layers on."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from detection import DETECTION
from paddle import nn

from ocrslim.config.config import load_config
from ocrslim.data.eval_set import scan, train_loader
from ocrslim.data.preprocess import Preprocessor
from ocrslim.errors import DataError, TrainingError
from ocrslim.models import state_arrays
from ocrslim.models.factory import build_model
from ocrslim.pruning.calibration import calibration_inputs, weight_gradients
from ocrslim.tasks.detection.loss import build_loss

KEY = "neck.in2_conv.weight"
WITH_NORM = "backbone.stage0.0.linear_conv.conv.weight"
UP = "head.binarize.conv2.weight"


@pytest.fixture(scope="module")
def options(rendered_options):
    return [*rendered_options, "Prune.criterion=taylor", "Prune.calibration_batches=2"]


@pytest.fixture(scope="module")
def config(v2_config, options):
    return load_config(v2_config, options)


def network(config):
    paddle.seed(1)
    model = build_model(config.section("Architecture"))
    model.eval()
    return model


@pytest.fixture(scope="module")
def measured(config):
    return weight_gradients(network(config), config, scan(config, "Train"))


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[place], second[place]) for place in first)


def test_one_row_a_batch_for_both_axes(config, measured):
    model = network(config)
    for key, weight in model.named_parameters():
        if len(weight.shape) > 1:
            for axis in (0, 1):
                assert measured[key, axis].shape == (2, weight.shape[axis])
            np.testing.assert_allclose(measured[key, 0].sum(axis=1), measured[key, 1].sum(axis=1), atol=1e-12)
    assert np.abs(measured["head.thresh.conv1.weight", 0]).max() > 0, "the loss reads the threshold map too"


def test_the_network_is_as_before(config):
    model = network(config)
    model.neck.train()
    model.head.binarize.conv1.weight.sum().backward()
    before, modes = state_arrays(model), [layer.training for layer in model.sublayers(include_self=True)]
    random_state = paddle.get_rng_state()[0].__getstate__()
    weight_gradients(model, config, scan(config, "Train"))
    after = state_arrays(model)
    assert all(before[key].tobytes() == after[key].tobytes() for key in before)
    assert [layer.training for layer in model.sublayers(include_self=True)] == modes
    assert (model.head.binarize.conv1.weight.grad.numpy() == 1).all()
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["head.binarize.conv1.weight"]
    assert paddle.get_rng_state()[0].__getstate__() == random_state


def test_it_depends_on_the_seed_alone(v2_config, options, config, measured):
    assert same(weight_gradients(network(config), config, scan(config, "Train")), measured)
    workers = load_config(v2_config, [*options, "Train.loader.num_workers=2"])
    assert same(weight_gradients(network(config), workers, scan(workers, "Train")), measured)
    other = load_config(v2_config, [*options, "Global.seed=7"])
    assert not same(weight_gradients(network(config), other, scan(other, "Train")), measured)


def test_more_batches_than_an_epoch_has(v2_config, options, measured):
    config = load_config(v2_config, [*options, "Prune.calibration_batches=3"])
    found = weight_gradients(network(config), config, scan(config, "Train"))[KEY, 0]
    np.testing.assert_array_equal(found[:2], measured[KEY, 0])
    assert found.shape[0] == 3 and np.abs(found[2] - found[0]).max() > 0


@pytest.mark.parametrize(("key", "axis"), [(KEY, 0), (WITH_NORM, 0), (UP, 1)])
def test_it_is_how_the_loss_changes_with_the_channel(config, measured, key, axis):
    """Scaling a channel's weights by 1 + e changes the loss by e * (what was measured)."""
    model, loss = network(config), build_loss(config.section("Loss"))
    batch = next(iter(train_loader(config, scan(config, "Train"), 0)))
    weight = dict(model.named_parameters())[key]
    full, channel, step = weight.numpy(), int(np.abs(measured[key, axis][0]).argmax()), 0.02

    def loss_at(scale):
        value = full.copy()
        np.moveaxis(value, axis, 0)[channel] *= scale
        weight.set_value(value)
        model.eval()
        model.head.training = True  # all three maps
        with paddle.no_grad():
            return float(loss(model(batch[0]), batch)["loss"])

    change = (loss_at(1 + step) - loss_at(1 - step)) / (2 * step)
    assert change == pytest.approx(measured[key, axis][0][channel], rel=0.05, abs=2e-4)


def test_statistics_of_the_batch_would_hide_what_lies_before_a_batch_norm(config, measured):
    """Why batch norms run with their own statistics: otherwise the sums vanish, whatever a channel does."""
    model, loss = network(config), build_loss(config.section("Loss"))
    batch = next(iter(train_loader(config, scan(config, "Train"), 0)))
    weight = dict(model.named_parameters())[WITH_NORM]
    model.train()
    (gradient,) = paddle.grad(loss(model(batch[0]), batch)["loss"], [weight])
    product = weight.numpy().astype("float64") * gradient.numpy()
    hidden = np.abs(product.sum(axis=(1, 2, 3))).max() / np.abs(product).sum(axis=(1, 2, 3)).max()
    seen = np.abs(measured[WITH_NORM, 0][0]).max()
    assert hidden < 1e-2 and seen > 0


@pytest.mark.parametrize("key", [KEY, "head.binarize.conv3.weight"])
def test_weights_that_are_no_numbers_are_refused(config, key):
    model = network(config)
    weight = dict(model.named_parameters())[key]
    weight.set_value(paddle.full(weight.shape, float("nan")))
    with pytest.raises(TrainingError, match=r"weight or its gradient is not finite \(the loss is"):
        weight_gradients(model, config, scan(config, "Train"))
    assert not model.training


def test_cut_outs_are_images_as_evaluation_sees_them(config):
    config = config.changed({"Prune.recover_images": 8})
    labelled = scan(config, "Train")
    inputs = calibration_inputs(config, labelled)
    assert len(inputs) == config.prune.recover_images > len(labelled), "few images give several each"
    assert {one.shape for one in inputs} == {(1, 3, 480, 480)} and {one.dtype for one in inputs} == {
        np.dtype("float32")
    }
    whole = Preprocessor(config)(labelled.samples[0].path).image
    known = set(np.round(whole, 4).ravel().tolist())
    assert any(set(np.round(one, 4).ravel().tolist()) - {0.0} <= known for one in inputs), "normalised alike"


def test_a_cut_out_lies_somewhere_in_the_image_and_small_images_are_filled_up():
    rng = np.random.default_rng(0)
    image = np.arange(3 * 500 * 620, dtype=np.float32).reshape(1, 3, 500, 620)
    corners = set()
    for _ in range(5):
        cut = DETECTION.calibration_input(image, rng)
        top, left = divmod(int(cut[0, 0, 0, 0]), 620)
        assert np.array_equal(cut, image[:, :, top : top + 480, left : left + 480])
        corners.add((top, left))
    assert len(corners) > 3
    small = DETECTION.calibration_input(image[:, :, :32, :64] + 1, rng)
    assert (
        np.array_equal(small[:, :, :32, :64], image[:, :, :32, :64] + 1) and small.sum() == small[..., :32, :64].sum()
    )


class Bright(nn.Layer):
    """Finds text where the image is bright."""

    def forward(self, x):
        return {"maps": nn.functional.sigmoid(10 * x[:, :1])}


def test_of_several_cut_outs_the_one_with_the_most_text_is_taken(config, monkeypatch):
    labelled = scan(config, "Train")
    whole = np.full((1, 3, 2000, 2000), -1, np.float32)
    whole[..., 300:800, 1200:1700] = 1
    monkeypatch.setattr(Preprocessor, "of_sample", lambda self, sample: SimpleNamespace(image=whole))
    bright = [
        np.mean([(one > 0).mean() for one in calibration_inputs(config, labelled, model)]) for model in (None, Bright())
    ]
    assert bright[1] > 1.5 * bright[0], "most of a photograph is background"


def test_cut_outs_depend_on_the_seed_alone(v2_config, options, config):
    labelled = scan(config, "Train")
    first, again = calibration_inputs(config, labelled), calibration_inputs(config, labelled)
    other = calibration_inputs(load_config(v2_config, [*options, "Global.seed=2"]), labelled)
    assert all(map(np.array_equal, first, again)) and not all(map(np.array_equal, first, other))


def test_too_few_images_to_refit_on_are_refused_however_many_cut_outs_they_give(config):
    labelled = scan(config, "Train")
    with pytest.raises(DataError, match=r"1 usable image to refit layers on, expected at least 4.*Prune.recover"):
        calibration_inputs(config, replace(labelled, samples=labelled.samples[:1]))
