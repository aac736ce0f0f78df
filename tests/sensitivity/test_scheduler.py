"""Who measures what next: everything once, a worker at its layer, scarce time where it tells most."""

from __future__ import annotations

import random

import pytest
from detection import HMEAN
from layer_counts import RATIOS, detector

from ocrslim.sensitivity.search.scheduler import Scheduler
from ocrslim.sensitivity.search.search import AdaptiveSearch, ExactSearch

LAYERS = ["a", "b", "c"]


@pytest.fixture(scope="module")
def made():
    """Baseline and counts by layer and ratio of a simulated detector."""
    return detector(images=20, boxes=(5, 20), recall=0.9, precision=0.9)


@pytest.fixture(scope="module")
def layers(made):
    return dict(zip(LAYERS, made.layers.values()))


def searches(made, layers, kind=ExactSearch):
    return {name: kind(list(counts), made.baseline, HMEAN, 0.02) for name, counts in layers.items()}


def equal(layers):
    return dict.fromkeys(layers, 1.0)


def answer(found, layers, scheduler, layer, request):
    counts = layers[layer][request.ratio][request.start : request.stop]
    found[layer].add(request.ratio, request.start, counts)
    scheduler.release(layer, request)


@pytest.mark.parametrize("kind", [ExactSearch, AdaptiveSearch], ids=["exact", "adaptive"])
@pytest.mark.parametrize("limited", [False, True], ids=["all-the-time", "limited"])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_however_the_workers_run_everything_is_measured_once(made, layers, kind, limited, workers):
    found = searches(made, layers, kind)
    scheduler, dice = Scheduler(found, equal(layers), limited), random.Random(workers)
    busy, at, images = {}, {}, set()
    while True:
        for worker in range(workers):
            if worker not in busy and (taken := scheduler.take(at.get(worker))):
                busy[worker], at[worker] = taken, taken[0]
                layer, request = taken
                new = {(layer, request.ratio, image) for image in range(request.start, request.stop)}
                assert new and not new & images, "an image of a point that somebody else has"
                images |= new
        if not busy:
            break
        answer(found, layers, scheduler, *busy.pop(dice.choice(sorted(busy))))
    assert all(search.decision().settled for search in found.values())
    if kind is ExactSearch:
        assert len(images) == len(LAYERS) * len(RATIOS) * len(made.baseline)


def test_a_worker_stays_and_another_begins_elsewhere(made, layers):
    found = searches(made, layers)
    scheduler = Scheduler(found, equal(layers))
    layer, request = scheduler.take(None)
    assert (layer, request.ratio) == ("a", RATIOS[0])
    assert scheduler.take(None)[0] == "b", "what nobody has begun comes first"
    answer(found, layers, scheduler, layer, request)
    layer, request = scheduler.take("a")
    assert (layer, request.ratio) == ("a", RATIOS[1])


def test_who_has_finished_helps_where_most_is_left(made, layers):
    found = searches(made, layers)
    for ratio in RATIOS[:5]:
        found["b"].add(ratio, 0, layers["b"][ratio])
    scheduler = Scheduler(found, equal(layers))
    taken = [scheduler.take(None) for _ in LAYERS]
    for ratio in RATIOS:
        if ratio != taken[0][1].ratio:
            found["a"].add(ratio, 0, layers["a"][ratio])
    answer(found, layers, scheduler, *taken[0])
    assert scheduler.take("a")[0] == "c", "b has fewer left"


def test_only_one_works_at_a_layer_whose_next_step_depends_on_this_one(made, layers):
    found = searches(made, layers, AdaptiveSearch)
    scheduler = Scheduler(found, equal(layers))
    assert [scheduler.take(None)[0] for _ in LAYERS] == LAYERS
    assert scheduler.take(None) is None
    scheduler.release("b", found["b"].next())
    assert scheduler.take("a")[0] == "b"


def test_nothing_is_left_when_all_is_known(made, layers):
    found = searches(made, layers)
    for name, counts in layers.items():
        for ratio, measured in counts.items():
            found[name].add(ratio, 0, measured)
    assert Scheduler(found, equal(layers)).take("a") is None
    assert Scheduler({}, {}).take(None) is None


def test_scarce_time_goes_to_what_weighs_most_and_is_least_known(made, layers):
    found = searches(made, layers)
    scheduler = Scheduler(found, {"a": 0.1, "b": 0.6, "c": 0.3}, limited=True)
    layer, request = scheduler.take("a")
    assert layer == "b" and abs(request.ratio - RATIOS[-1] / 2) <= 0.051, "in the middle of what is open"
    assert [scheduler.take(None)[0] for _ in range(2)] == ["b", "c"], "half of what b tells is as much as c does"

    for ratio in RATIOS:
        known = searches(made, layers)
        for other in set(RATIOS) - {ratio}:
            known["b"].add(other, 0, layers["b"][other])
    left = known["b"].decision()
    expected = "b" if (left.high - left.low) * 0.6 > 0.3 * RATIOS[-1] else "c"
    assert Scheduler(known, {"a": 0.1, "b": 0.6, "c": 0.3}, limited=True).take("b")[0] == expected == "c"
