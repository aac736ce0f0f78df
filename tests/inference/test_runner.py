"""Variants on the runtime against the network that surgery cuts, for every group of every detector."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle, product
from types import SimpleNamespace

import known_networks
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
import yaml
from detection import DETECTION
from networks import conv
from paddle import nn
from slow import quick

from ocrslim.errors import LoweringError
from ocrslim.graph.frontends.dygraph import trace, traced
from ocrslim.graph.groups import ChannelGraph
from ocrslim.inference.incremental.activation_cache import ActivationCache
from ocrslim.inference.incremental.network import RuntimeNetwork
from ocrslim.inference.incremental.proof import Proof, proof_of
from ocrslim.inference.incremental.runner import GroupRunner
from ocrslim.models import state_arrays
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.surgery.cutting import pruned
from ocrslim.sensitivity.workers.variants import RuntimeVariants
from ocrslim.utils.timing import Clock

GENEROUS, STINGY = 1 << 40, 1
TOLERANCE = 1e-5
SPREAD = 0.4  # standard deviation before the sigmoid
SIZES = ((64, 96), (96, 160))
CONFIGS = {
    "det_mv3_db": "det_mv3_db.yml",
    "ch_det_mv3_db_v2.0": "ch_ppocr_v2.0/ch_det_mv3_db_v2.0.yml",
    "ch_PP-OCRv3_det_student": "ch_PP-OCRv3/ch_PP-OCRv3_det_student.yml",
}


class Images:
    """Images of unequal size, without a label."""

    def __init__(self, sizes=SIZES):
        self.arrays = [blotches(1, *size, seed=seed) for seed, size in enumerate(sizes)]
        self.asked: list[int] = []

    def image(self, index):
        self.asked.append(index)
        return self.arrays[index]

    def __getitem__(self, index):
        return SimpleNamespace(target=SimpleNamespace(polygons=[]))

    @property
    def pixels(self):
        return sum(array[0, 0].size for array in self.arrays)


@dataclass
class Case:
    """A network ready for both ways to run its variants."""

    model: nn.Layer
    graph: ChannelGraph
    images: Images

    def __post_init__(self):
        program = traced(self.model, [(-1, 3, -1, -1)], training=False)
        self.network = RuntimeNetwork(program, state_arrays(self.model), DETECTION.probe_shape)
        self.pruner = ChannelPruner(self.model, self.graph, "random")

    @cached_property
    def variants(self) -> RuntimeVariants:
        return RuntimeVariants(self.model, self.graph, self.images, lambda: self.pruner, DETECTION)

    def runner(self, group: str | None, share: int = GENEROUS, folder=None) -> GroupRunner:
        return self.runner_with(ActivationCache(self.network, self.images, share, folder, Clock()), group)

    def runner_with(self, cache: ActivationCache, group: str | None) -> GroupRunner:
        return GroupRunner(self.network, group and self.graph.groups[group], cache)

    def reference(self, group: str | None = None, ratio: float = 0.0) -> list[np.ndarray]:
        """What dygraph makes of the images, without what surgery cuts."""
        cuts = self.pruner.cuts({group: ratio}) if group else ()
        with pruned(self.model, Plan({}, cuts)), paddle.no_grad():
            outputs = [self.model(paddle.to_tensor(image)) for image in self.images.arrays]
        return [output["maps"].numpy() for output in outputs]


def distance(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max()) if found.shape == wanted.shape else np.inf


def blotches(count: int, height: int, width: int, seed: int = 4) -> np.ndarray:
    """Images of coarse structure, each of its own brightness and contrast: float32 [count, 3, height, width]."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((count, 3, height // 8, width // 8)).repeat(8, 2).repeat(8, 3)
    contrast, brightness = rng.uniform(0.3, 2, (count, 1, 1, 1)), rng.standard_normal((count, 3, 1, 1))
    return np.float32(contrast * coarse + brightness + 0.2 * rng.standard_normal(coarse.shape))


def detector_of(name: str) -> nn.Layer:
    """A detector with random weights that is about as sensitive as a trained one.

    In its depths images of noise are all alike: batch norms with the statistics of such images magnify rounding so
    that dygraph itself is off by 5e-5 of the map. Nor is the map to be 0 or 1 anywhere, which hides differences.
    """
    paddle.seed(0)
    model = known_networks.settled(name)
    norms = [layer for layer in model.sublayers() if isinstance(layer, nn.BatchNorm)]
    last, found = model.head.binarize.conv3, {}
    hook = last.register_forward_post_hook(lambda layer, inputs, output: found.update(spread=float(output.std())))
    for layer in norms:
        layer._momentum = 0.0  # the next batch is all that counts
    model.train()
    with paddle.no_grad():
        model(paddle.to_tensor(blotches(8, 128, 192)))
    hook.remove()
    for parameter in last.parameters():
        parameter.set_value(parameter.numpy() * np.float32(SPREAD / found["spread"]))
    model.eval()
    return model


@pytest.fixture(scope="module", params=quick(CONFIGS, ["ch_det_mv3_db_v2.0"]))
def detector(request, repo) -> Case:
    architecture = yaml.safe_load((repo / "configs/det" / CONFIGS[request.param]).read_text())["Architecture"]
    assert known_networks.ARCHITECTURES[request.param] == architecture
    model = detector_of(request.param)
    return Case(model, trace(model, (1, 3, *SIZES[0])), Images())


@pytest.mark.slow
def test_every_group_of_every_detector_equals_surgery(detector, tmp_path):
    """Each group at one of the ratios and with one of the partitions, all four pairs in turn."""
    original = detector.reference()
    checks = moved = 0
    for name, (ratio, share) in zip(detector.graph.groups, cycle(product((0.3, 0.7), (GENEROUS, STINGY)))):
        runner = detector.runner(name, share, tmp_path)
        runner.load(detector.variants.variant(name, ratio))
        wanted = detector.reference(name, ratio)
        off = max(distance(runner(index), output) for index, output in enumerate(wanted))
        assert off <= TOLERANCE, f"{name} at {ratio}, share {share}: off by {off:.1e}"
        moved += max(map(distance, original, wanted)) > 10 * TOLERANCE
        checks += 1
        runner.close()
    assert moved > 0.9 * checks, "pruning hardly matters: this proves nothing"


@pytest.mark.parametrize("share", [GENEROUS, STINGY], ids=["memory", "file"])
@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
def test_what_one_group_keeps_serves_the_next_one(detector, tmp_path, share, backwards):
    """One store for all groups: in the network's order the input is seldom asked for; in any order all is right."""
    cache = ActivationCache(detector.network, detector.images, share, tmp_path, Clock())
    detector.images.asked.clear()
    groups = list(detector.graph.groups)[:: -3 if backwards else 3]
    for name in groups:
        runner = detector.runner_with(cache, name)
        runner.load(replace(detector.variants.variant(name, 0.5), proof=None))
        for index, wanted in enumerate(detector.reference(name, 0.5)):
            assert distance(runner(index), wanted) <= TOLERANCE, name
            assert distance(runner(index), wanted) <= TOLERANCE, f"{name}, once more"
    assert backwards or detector.images.asked.count(1) < len(groups) / 2


def test_other_removed_units_are_found_out(detector):
    """The control: what is fed must be what the weights were cut for."""
    sliced = 0
    for name in list(detector.graph.groups)[::9]:
        runner = detector.runner(name)
        variant = detector.variants.variant(name, 0.3)
        wanted = detector.reference(name, 0.3)[0]
        sliced += any(source.member for source in detector.network.split(variant.group).sources)
        others = [unit for unit in range(variant.group.size) if unit not in variant.removed]
        runner.load(replace(variant, removed=frozenset(others[: len(variant.removed)]), proof=None))
        assert distance(runner(0), wanted) > TOLERANCE, name
        runner.close()
    assert sliced > 2


class Small(nn.Layer):
    """Two layers that matter, and one whose output is lost on the way."""

    def __init__(self):
        super().__init__()
        self.stem, self.side, self.far, self.end = conv(3, 8), conv(3, 6), conv(6, 4), conv(8, 1)

    def forward(self, x):
        self.far(F.relu(self.side(x)))
        return {"maps": F.sigmoid(self.end(F.relu(self.stem(x))))}


class Overwriting(nn.Layer):
    """An operator that overwrites what is used again: dygraph does it, a traced network does not."""

    def __init__(self):
        super().__init__()
        self.stem, self.end = conv(3, 8), conv(8, 1)

    def forward(self, x):
        x = self.stem(x)
        return {"maps": self.end(F.relu_(x) + x)}


def small(model: nn.Layer | None = None) -> Case:
    paddle.seed(5)
    model = model or Small()
    model.eval()
    return Case(model, trace(model, (1, 3, 32, 32)), Images(((32, 48), (48, 32), (40, 56))))


@pytest.fixture(scope="module")
def case() -> Case:
    return small()


def test_the_network_as_it_is_equals_dygraph(case):
    runner = case.runner(None)
    runner.load(case.variants.variant(None, 0.0))
    for index, wanted in enumerate(case.reference()):
        assert distance(runner(index), wanted) <= 1e-6
    assert runner.cached == 0


@pytest.mark.parametrize("share", [GENEROUS, STINGY], ids=["generous", "stingy"])
def test_a_group_that_does_not_reach_the_output_gives_the_network_as_it_is(case, tmp_path, share):
    runner = case.runner("side.weight", share, tmp_path)
    runner.load(case.variants.variant("side.weight", 0.5))
    for _ in range(2):
        for index, wanted in enumerate(case.reference()):
            assert distance(runner(index), wanted) <= 1e-6
    runner.close()


@pytest.mark.parametrize("where", ["memory", "file", "nowhere"])
def test_what_is_shared_is_computed_once_for_each_image_and_read_back_as_it_was(case, tmp_path, where):
    runner = case.runner(
        "stem.weight", GENEROUS if where == "memory" else STINGY, tmp_path if where == "file" else None
    )
    case.images.asked.clear()
    for ratio in (0.3, 0.7, 0.3):
        runner.load(replace(case.variants.variant("stem.weight", ratio), proof=None))
        for index, wanted in enumerate(case.reference("stem.weight", ratio)):
            assert distance(runner(index), wanted) <= 1e-6
    asked = [case.images.asked.count(index) for index in range(3)]
    assert asked[1:] == ([3, 3] if where == "nowhere" else [1, 1])
    assert (runner.cached > 0) == (where != "nowhere")


def test_no_more_memory_is_taken_than_was_shared(case, tmp_path):
    generous = case.runner("stem.weight")
    generous.load(case.variants.variant("stem.weight", 0.3))
    for index in range(3):
        generous(index)
    need = 4 * case.images.pixels * case.network.split(case.graph.groups["stem.weight"]).elements(case.network.sizes)
    assert generous.cached == pytest.approx(need, rel=0.01)
    tight = case.runner("stem.weight", int(need // 2))
    tight.load(case.variants.variant("stem.weight", 0.3))
    for index in range(3):
        tight(index)
    assert tight.cached <= need // 2


def test_a_proof_of_something_else_is_refused(case):
    variant = case.variants.variant("stem.weight", 0.5)
    image, wanted = case.images.arrays[0], case.reference("stem.weight", 0.5)[0]
    runner = case.runner("stem.weight")
    runner.load(replace(variant, proof=Proof(image, wanted)))
    with pytest.raises(LoweringError, match="off by"):
        runner.load(replace(variant, proof=Proof(image, wanted + 2e-4)))
    with pytest.raises(LoweringError, match="shape"):
        runner.load(replace(variant, proof=Proof(image, wanted[..., :-1])))
    with pytest.raises(LoweringError, match="off by"):
        runner.load(replace(variant, proof=Proof(image, np.full_like(wanted, np.nan))))


@pytest.mark.parametrize(
    ("off", "moved", "equal"),
    [
        (9e-5, 0.0, True),  # rounding
        (2e-4, 0.0, False),
        (2e-4, 4e-5, True),  # of a network that enlarges it
        (2e-3, 1.0, False),  # whatever it enlarges
    ],
)
def test_more_is_allowed_only_to_a_network_that_enlarges_rounding(off, moved, equal):
    expected = np.linspace(0, 1, 8, dtype=np.float32)
    proof = Proof(np.zeros((1, 3, 4, 4), np.float32), (np.float32([500.0]), expected), (0.0, moved))
    with contextlib.nullcontext() if equal else pytest.raises(LoweringError, match="off by"):
        proof.check((np.float32([500.0]), expected + np.float32(off)))  # the large number of another array is no excuse


def test_a_proof_knows_how_far_its_network_enlarges_rounding():
    image = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    plain, large = proof_of(lambda x: x, image), proof_of(lambda x: 1e4 * (x - image), image)
    assert 0 < plain.moved[0] < 2e-7
    assert 1e-4 < large.moved[0] < 2e-3


def test_an_operator_that_overwrites_what_is_used_again_is_found_out_by_its_proof():
    case = small(Overwriting())
    with pytest.raises(LoweringError, match="off by"):
        case.runner(None).load(case.variants.variant(None, 0.0))
