"""Steps rewritten by algebra give what the steps as traced give, on the runtime itself, and cost less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import paddle
import pytest
import yaml

from ocrslim.graph.frontends.dygraph import traced
from ocrslim.inference.compiler import rewrite as algebra
from ocrslim.inference.compiler.conversion.from_program import to_steps
from ocrslim.inference.compiler.executable import Executable
from ocrslim.inference.compiler.folding import fold
from ocrslim.inference.compiler.ir import ADD, CONCAT, CONV, DECONV, MULTIPLY, Activation, Step
from ocrslim.inference.compiler.linear_maps import NEAREST
from ocrslim.inference.compiler.lowering import lower
from ocrslim.inference.compiler.rewrite import rewrite, shapes_of
from ocrslim.inference.compiler.upsampling import without_upsampling
from ocrslim.models import state_arrays
from ocrslim.models.factory import build_model

MAP = (-1, 8, -1, -1)  # a traced shape; sums of equal ones are no broadcasts
RELU = Activation("relu")


def conv(source, output, shape, seed=0, bias=False, activation=None, **settings):
    """A convolution that keeps the size, unless `settings` say otherwise."""
    rng = np.random.default_rng([seed, *shape])
    plain = {"strides": [1, 1], "paddings": [shape[2] // 2] * 2, "dilations": [1, 1], "groups": 1}
    shift = rng.normal(size=shape[0]) if bias else None
    return Step(CONV, (source,), output, {**plain, **settings}, rng.normal(size=shape), shift, activation)


def upsample(source, output, factor=2):
    free = {"data_layout": "NCHW", "out_d": -1, "out_h": -1, "out_w": -1, "align_mode": 0}
    settings = {"interp_method": "nearest", "align_corners": False, "scale": [float(factor)] * 2, **free}
    return Step(NEAREST, (source,), output, settings)


def add(one, other, output):
    return Step(ADD, (one, other), output, {"axis": -1})


def concat(sources, output):
    return Step(CONCAT, tuple(sources), output, {"axis": 1})


def relu(source, output):
    return Step("relu", (source,), output)


def run(steps: Sequence[Step], feeds: Mapping[object, np.ndarray], outputs: Sequence[object]) -> list[np.ndarray]:
    return Executable(lower(steps, list(feeds), outputs))([np.float32(array) for array in feeds.values()])


def distance(steps, others, feeds, outputs) -> float:
    """The largest difference of any output, relative to that output's largest entry."""
    pairs = zip(run(steps, feeds, outputs), run(others, feeds, outputs))
    return max(float(np.abs(a - b).max() / np.abs(a).max()) if a.shape == b.shape else np.inf for a, b in pairs)


def products(steps, feeds) -> int:
    """Multiply-accumulates of one pass."""
    convolutions = [step for step in steps if step.convolves]
    made = dict(zip((step.output for step in convolutions), run(steps, feeds, [s.output for s in convolutions])))
    total = 0
    for step in convolutions:
        stride = np.prod(step.attributes["strides"]) if step.kind == DECONV else 1
        window = step.weight[0].size if step.kind == CONV else step.weight[:, 0].size
        total += int(made[step.output].size * window // stride)
    return total


def maps(sizes: Mapping[object, tuple[int, ...]], seed=1) -> dict[object, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}


def pyramid(inputs=(16, 24, 56, 80), width=96, smooth=(24, 24, 24, 24), out=24) -> list[Step]:
    """DBFPN and the first layer of DBHead, from the fed values c0 (finest) .. c3."""
    steps, parts, top = [], [], ""
    for level in (3, 2, 1, 0):
        steps.append(conv(f"c{level}", f"lateral{level}", (width, inputs[level], 1, 1)))
        if top:
            steps += [upsample(top, f"up{level}"), add(f"lateral{level}", f"up{level}", f"sum{level}")]
        top = f"sum{level}" if top else f"lateral{level}"
        steps.append(conv(top, f"smooth{level}", (smooth[level], width, 3, 3)))
        parts.append(f"big{level}" if level else "smooth0")
        if level:
            steps.append(upsample(f"smooth{level}", f"big{level}", 2**level))
    steps.append(concat(parts, "joined"))
    steps.append(conv("joined", "head", (out, sum(smooth), 3, 3), bias=True))
    return [*steps, relu("head", "result")]


def levels(inputs, height, width, batch=1):
    """The maps that `pyramid` is fed with; the coarsest has the given size."""
    return maps({f"c{n}": (batch, c, height << 3 - n, width << 3 - n) for n, c in enumerate(inputs)})


def shapes_in(steps):
    """As traced with free sizes: all values are maps."""
    return {name: MAP for step in steps for name in (*step.inputs, step.output)}


def known_shapes(steps, feeds):
    """As `shapes_in`, with the channels of what is fed."""
    return {**shapes_in(steps), **{name: (-1, array.shape[1], -1, -1) for name, array in feeds.items()}}


@pytest.mark.parametrize("size", [(3, 5), (7, 4), (1, 1), (2, 9)])
@pytest.mark.parametrize(
    "inputs, smooth, out",
    [
        ((16, 24, 56, 80), (24, 24, 24, 24), 24),  # as published
        ((13, 41, 7, 80), (11, 24, 19, 3), 17),  # pruned
        ((16, 24, 56, 480), (24, 24, 24, 24), 24),  # the coarsest wider than the pyramid
    ],
)
def test_a_pyramid_and_its_head_are_the_same_with_fewer_products(size, inputs, smooth, out):
    feeds = levels(inputs, *size)
    steps = fold(pyramid(inputs, 96, smooth, out), ["result"])
    found = rewrite(steps, ["result"], known_shapes(steps, feeds))
    assert distance(steps, found, feeds, ["result"]) < 1e-5
    assert products(found, feeds) < 0.6 * products(steps, feeds)


def test_all_images_of_a_batch_and_all_sizes_are_served_by_the_same_steps():
    feeds = levels((16, 24, 56, 80), 3, 5, batch=3)
    steps = fold(pyramid(), ["result"])
    found = rewrite(steps, ["result"], known_shapes(steps, feeds))
    before, after = (Executable(lower(s, list(feeds), ["result"])) for s in (steps, found))
    for size in ((3, 5), (4, 2), (3, 5)):
        arrays = list(levels((16, 24, 56, 80), *size, batch=2).values())
        expected = before(arrays)[0]
        assert np.abs(after(arrays)[0] - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("kept", ["sum0", "sum1", "smooth2", "big2", "joined", "up0"])
def test_values_that_must_come_out_do(kept):
    feeds = levels((16, 24, 56, 80), 3, 4)
    steps = fold(pyramid(), ["result", kept])
    found = rewrite(steps, ["result", kept], known_shapes(steps, feeds))
    assert distance(steps, found, feeds, ["result", kept]) < 1e-5


def test_a_kernel_that_is_one_pixel_off_is_noticed(monkeypatch):
    right = algebra.upsampling_kernel
    monkeypatch.setattr(algebra, "upsampling_kernel", lambda weight, factor: np.roll(right(weight, factor), 1, -1))
    feeds = levels((16, 24, 56, 80), 3, 5)
    steps = fold(pyramid(), ["result"])
    found = rewrite(steps, ["result"], known_shapes(steps, feeds))
    assert distance(steps, found, feeds, ["result"]) > 1e-2


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("size", [(3, 5), (1, 2)])  # 1x1 as fed: upsampling it corrupts memory in Paddle 3.1.1
def test_a_convolution_of_an_upsampled_map_is_transposed(kernel, factor, size):
    steps = [upsample("x", "big", factor), conv("big", "out", (9, 40, kernel, kernel), bias=True, activation=RELU)]
    feeds = maps({"x": (2, 40, *size)})
    found = rewrite(steps, ["out"], known_shapes(steps, feeds))
    assert [step.kind for step in found] == [DECONV, "relu"]
    assert distance(steps, found, feeds, ["out"]) < 1e-5


@pytest.mark.parametrize("channels", [24, 6, 7])
@pytest.mark.parametrize("factor", [2, 3, 8])
@pytest.mark.parametrize("block", [1, 2, 8])
def test_an_upsampling_is_a_transposed_convolution_to_the_last_bit(block, channels, factor):
    steps = [conv("x", "made", (channels, 4, 1, 1)), upsample("made", "out", factor)]
    found = without_upsampling(steps, block)
    assert [step.kind for step in found] == [CONV, DECONV]
    assert distance(steps, found, maps({"x": (2, 4, 3, 5)}), ["out"]) == 0


def narrow_then_wide(**second):
    """1x1 to many channels, 3x3 to few: cheaper as one convolution."""
    return [conv("x", "wide", (64, 8, 1, 1)), conv("wide", "out", (16, 64, 3, 3), **second)]


def big_then_convolution(**settings):
    return [upsample("x", "big"), conv("big", "out", (16, 8, 3, 3), **settings)]


def summed():
    """A convolution of a sum that is worth taking apart."""
    steps = [conv("x", "wide", (64, 8, 1, 1)), conv("y", "tall", (64, 8, 1, 1)), upsample("tall", "big")]
    return [*steps, add("wide", "big", "sum"), conv("sum", "out", (16, 64, 3, 3))]


@pytest.mark.parametrize(
    "steps, count",
    [
        (narrow_then_wide(), 1),
        (big_then_convolution(), 1),
        ([conv("x", "wide", (64, 8, 1, 1)), conv("wide", "out", (16, 64, 1, 1), bias=True)], 1),
        ([conv("x", "wide", (64, 8, 1, 1), bias=True), conv("wide", "out", (16, 64, 1, 1), bias=True)], 1),
        ([conv("x", "wide", (64, 8, 3, 3), bias=True), conv("wide", "out", (8, 64, 1, 1), bias=True)], 1),
        (summed(), 2),
    ],
    ids="1x1-then-3x3 upsampled two-1x1 bias-under-1x1 3x3-then-1x1 sum".split(),
)
def test_each_rule_on_its_own(steps, count):
    feeds = maps({"x": (1, 8, 6, 10)})
    feeds |= maps({"y": (1, 8, 3, 5)}) if any("y" in step.inputs for step in steps) else {}
    found = rewrite(steps, ["out"], known_shapes(steps, feeds))
    assert len(found) == count
    assert distance(steps, found, feeds, ["out"]) < 1e-5


@pytest.mark.parametrize(
    "steps, outputs",
    [
        ([*narrow_then_wide(), relu("wide", "other")], ["out", "other"]),
        (narrow_then_wide(), ["out", "wide"]),
        ([conv("x", "wide", (64, 8, 1, 1), activation=RELU), narrow_then_wide()[1]], ["out"]),
        ([conv("x", "wide", (64, 8, 1, 1), bias=True), narrow_then_wide()[1]], ["out"]),
        (narrow_then_wide(strides=[2, 2]), ["out"]),
        (narrow_then_wide(dilations=[2, 2], paddings=[2, 2]), ["out"]),
        (narrow_then_wide(paddings=[0, 0]), ["out"]),
        ([conv("x", "wide", (64, 8, 1, 1), strides=[2, 2]), narrow_then_wide()[1]], ["out"]),
        ([conv("x", "wide", (64, 8, 1, 1), paddings=[1, 1]), narrow_then_wide()[1]], ["out"]),
        ([conv("x", "wide", (64, 8, 1, 1)), conv("wide", "out", (16, 64, 2, 2), paddings=[1, 1])], ["out"]),
        ([conv("x", "wide", (64, 8, 1, 1)), conv("wide", "out", (16, 32, 3, 3), groups=2)], ["out"]),
        ([conv("x", "wide", (64, 4, 1, 1), groups=2), narrow_then_wide()[1]], ["out"]),
        ([conv("x", "wide", (64, 8, 3, 3)), conv("wide", "out", (8, 64, 3, 3))], ["out"]),
        ([*big_then_convolution(), relu("big", "other")], ["out", "other"]),
        (big_then_convolution(), ["out", "big"]),
        (big_then_convolution(strides=[2, 2]), ["out"]),
        ([upsample("x", "big"), relu("big", "more"), conv("more", "out", (16, 8, 3, 3))], ["out"]),
        ([upsample("x", "big"), conv("big", "out", (16, 8, 2, 2), paddings=[1, 1])], ["out"]),
        ([conv("x", "wide", (96, 8, 1, 1)), conv("wide", "out", (96, 96, 3, 3), groups=1)][1:], ["out"]),
        ([conv("x", "thin", (2, 8, 1, 1)), conv("thin", "out", (64, 2, 3, 3))], ["out"]),
    ],
    ids=(
        "used-twice output activation bias stride-2 dilation valid stride-2-before padded-1x1 even-kernel groups "
        "groups-before two-windows big-used-twice big-output big-stride-2 activation-on-big big-even-kernel alone "
        "no-gain"
    ).split(),
)
def test_where_no_rule_applies_the_steps_stay(steps, outputs):
    source = "wide" if not any("x" in step.inputs for step in steps) else "x"
    feeds = maps({source: (1, 96 if source == "wide" else 8, 5, 7)})
    found = rewrite(steps, outputs, known_shapes(steps, feeds))
    assert [id(step) for step in found] == [id(step) for step in steps]
    assert distance(steps, found, feeds, outputs) == 0


def test_a_sum_with_one_value_a_channel_is_no_sum_of_maps():
    """A convolution of it depends on the padding, as a bias does."""
    steps = [*summed()[:2], add("tall", "wide", "sum"), summed()[-1]]
    shapes = {**shapes_in(steps), "wide": (-1, 64, -1, -1), "tall": (-1, 64, 1, 1)}
    assert rewrite(steps, ["out"], shapes)[-1].weight is steps[-1].weight
    assert rewrite(steps, ["out"], {})[-1].weight is steps[-1].weight
    assert rewrite(steps, ["out"], shapes_in(steps))[-1].weight is not steps[-1].weight


@pytest.mark.parametrize("known, gain", [(11, True), (24, False)], ids=["as fed", "as traced, unpruned"])
def test_a_part_of_a_network_starts_from_pruned_maps(known, gain):
    """Shapes that do not say which channels are left cost the gain, never the result."""
    steps = [upsample("small", "big", 4), concat(["big", "large"], "joined")]
    steps.append(conv("joined", "out", (24, 24 + 11, 3, 3)))
    feeds = maps({"small": (1, 24, 3, 5), "large": (1, 11, 12, 20)})
    shapes = {**known_shapes(steps, feeds), "large": (-1, known, -1, -1)}
    found = rewrite(steps, ["out"], shapes)
    assert (products(found, feeds) < 0.8 * products(steps, feeds)) == gain
    assert distance(steps, found, feeds, ["out"]) < 1e-5


def test_a_map_and_its_gated_copy_become_one_product():
    pool = {"pooling_type": "avg", "ksize": [1, 1], "strides": [1, 1], "paddings": [0, 0], "ceil_mode": False}
    pool |= {"exclusive": True, "adaptive": True, "global_pooling": False, "data_format": "NCHW"}
    pool |= {"padding_algorithm": "EXPLICIT"}
    steps = [
        conv("x", "a", (24, 8, 3, 3), bias=True),
        Step("pool2d", ("a",), "mean", pool),
        conv("mean", "gate", (24, 24, 1, 1), activation=Activation("sigmoid")),
        Step(MULTIPLY, ("a", "gate"), "gated", {"axis": -1}),
        add("a", "gated", "out"),
    ]
    feeds = maps({"x": (2, 8, 5, 7)})
    found = rewrite(steps, ["out"], shapes_in(steps))
    assert ADD not in [step.kind for step in found]
    assert distance(steps, found, feeds, ["out"]) < 1e-5
    assert rewrite(steps, ["out", "gated"], shapes_in(steps)) == steps


def deconv(source, output, shape, bias=True, **settings):
    """A transposed convolution; windows do not overlap, unless `settings` say otherwise."""
    rng = np.random.default_rng([*shape])
    plain = {"strides": [*shape[2:]], "paddings": [0, 0], "dilations": [1, 1], "groups": 1, "output_padding": []}
    shift = rng.normal(size=shape[1]) if bias else None
    return Step(DECONV, (source,), output, {**plain, **settings}, rng.normal(size=shape) / shape[0], shift)


def tail(inner=24, last=1, one=2, two=2, **second):
    """The end of DBHead, from features to the map."""
    return [
        deconv("x", "double", (24, inner, one, one)),
        relu("double", "positive"),
        deconv("positive", "whole", (inner, last, two, two), **second),
        Step("sigmoid", ("whole",), "out"),
    ]


@pytest.mark.parametrize("inner", [24, 13, 1])
@pytest.mark.parametrize("last, one, two, bias", [(1, 2, 2, True), (2, 2, 2, False), (1, 2, 3, True), (1, 3, 2, True)])
def test_transposed_convolutions_without_overlap_run_in_phases(inner, last, one, two, bias):
    steps = tail(inner, last, one, two, bias=bias)
    feeds = maps({"x": (2, 24, 3, 5)})
    found = rewrite(steps, ["out"], shapes_in(steps))
    if inner == 24 and last == 1 and one == 2:
        assert [step.kind for step in found] == [CONV, CONV, "pixel_shuffle"]
    assert distance(steps, found, feeds, ["out"]) < 1e-5


@pytest.mark.parametrize(
    "steps, outputs",
    [
        (tail(last=24), ["out"]),
        (tail(), ["out", "positive"]),
        (tail(), ["out", "double"]),
        ([*tail(), relu("double", "other")], ["out", "other"]),
        (tail(two=4, strides=[2, 2], paddings=[1, 1]), ["out"]),
        (tail()[:2], ["positive"]),
    ],
    ids="many-zeros output first-output used-twice overlap single".split(),
)
def test_other_transposed_convolutions_stay(steps, outputs):
    found = rewrite(steps, outputs, shapes_in(steps))
    assert [id(step) for step in found] == [id(step) for step in steps]


def random_steps(seed: int) -> list[Step]:
    """Maps of two sizes, joined in any way, with more channels inside than outside."""
    rng = np.random.default_rng(seed)
    made = {"small": (8, 1), "large": (8, 2)}  # channels, size
    steps: list[Step] = []
    for n in range(12):
        name, pick = f"v{n}", list(made)[int(rng.integers(len(made)))]
        channels, size = made[pick]
        alike = [other for other in made if made[other] == (channels, size)]
        level = [other for other in made if made[other][1] == size]
        kind = rng.choice(["conv", "conv", "up", "add", "concat", "relu"])
        if kind == "up" and size == 1:
            steps.append(upsample(pick, name))
            made[name] = (channels, 2)
        elif kind == "add" and len(alike) > 1:
            steps.append(add(pick, alike[int(rng.integers(len(alike)))], name))
            made[name] = (channels, size)
        elif kind == "concat" and len(level) > 1:
            parts = [pick, level[int(rng.integers(len(level)))]]
            steps.append(concat(parts, name))
            made[name] = (sum(made[part][0] for part in parts), size)
        elif kind == "relu":
            steps.append(relu(pick, name))
            made[name] = (channels, size)
        else:
            kernel, out = int(rng.choice([1, 1, 3])), int(rng.choice([8, 13, 40]))
            steps.append(conv(pick, name, (out, channels, kernel, kernel), n, bias=bool(rng.integers(4) == 0)))
            made[name] = (out, size)
    return steps


def test_random_networks_stay_the_same_and_many_get_smaller():
    changed = 0
    for seed in range(60):
        steps = random_steps(seed)
        used = {name for step in steps for name in step.inputs}
        outputs = [step.output for step in steps if step.output not in used]
        feeds = maps({"small": (1, 8, 3, 5), "large": (1, 8, 6, 10)})
        feeds = {name: array for name, array in feeds.items() if name in used}
        folded = fold(steps, outputs)
        found = rewrite(folded, outputs, real_shapes(steps, feeds))
        changed += len(found) != len(folded) or any(a is not b for a, b in zip(found, folded))
        assert distance(steps, found, feeds, outputs) < 1e-5, seed
    assert changed >= 15


def real_shapes(steps, feeds):
    """All shapes, read off a pass."""
    made = [step.output for step in steps]
    return {**{k: v.shape for k, v in feeds.items()}, **dict(zip(made, (a.shape for a in run(steps, feeds, made))))}


@pytest.mark.parametrize(
    "config",
    [
        "ch_ppocr_v2.0/ch_det_mv3_db_v2.0.yml",
        "det_mv3_db.yml",
        "ch_PP-OCRv3/ch_PP-OCRv3_det_student.yml",
    ],
)
def test_the_detectors_are_as_near_to_dygraph_as_the_steps_as_traced(repo, config):
    paddle.seed(3)
    settings = yaml.safe_load((repo / "configs/det" / config).read_text(encoding="utf-8"))
    model = build_model(settings["Architecture"])
    model.eval()
    program = traced(model, [(-1, 3, -1, -1)], training=False)
    inputs, outputs = [v.id for v in program.inputs], [v.id for v in program.outputs]
    steps = to_steps(program.ops, program.outputs, state_arrays(model), {})
    found = rewrite(steps, outputs, shapes_of(program.ops))
    image = np.random.default_rng(0).normal(size=(1, 3, 96, 160)).astype(np.float32)
    with paddle.no_grad():
        expected = model(paddle.to_tensor(image))["maps"].numpy()
    before, after = (
        np.abs(Executable(lower(some, inputs, outputs))([image])[0] - expected).max() for some in (steps, found)
    )
    assert after < 2 * before + 1e-7
    assert products(found, {inputs[0]: image}) < 0.9 * products(steps, {inputs[0]: image})
