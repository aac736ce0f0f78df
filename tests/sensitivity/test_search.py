"""Adaptive search: the ratio that the exact table gives, for a fraction of its cost."""

from __future__ import annotations

import numpy as np
import pytest
from detection import HMEAN, PRECISION, RECALL
from layer_counts import RATIOS, curve, detector

from ocrslim.pruning.loss_rules import ratio_by_loss
from ocrslim.sensitivity.search.estimator import LossEstimator, sample_sizes
from ocrslim.sensitivity.search.search import AdaptiveSearch, ExactSearch
from ocrslim.tasks.detection.metric import ImageCounts

TOLERANCE = 0.02
START_COST = 1.0  # of a new ratio, in evaluations of one image
RECEIPTS = {"images": 40, "boxes": (10, 80), "recall": 0.89, "precision": 0.93}
STREETS = {"images": 100, "boxes": (1, 8), "recall": 0.395, "precision": 0.61}
MANY = {"images": 400, "boxes": (1, 8), "recall": 0.73, "precision": 0.77}


def run(search, counts, most=10_000):
    """Answer requests until the search is done; return what was asked for."""
    asked = []
    while (request := search.next()) is not None:
        asked.append(request)
        search.add(request.ratio, request.start, counts[request.ratio][request.start : request.stop])
        assert len(asked) < most
    return asked


def full_points(asked, images):
    """Evaluations in units of all images, with what each new ratio costs besides."""
    return sum(r.stop - r.start + START_COST * (r.start == 0) for r in asked) / images


def measured(search):
    return {point.ratio: point.loss for point in search.points() if point.how == "measured"}


def estimated(search):
    return {point.ratio: point.loss for point in search.points()}


def exact_ratio(baseline, counts, metric=HMEAN, tolerance=TOLERANCE):
    search = ExactSearch(list(counts), baseline, metric, tolerance)
    run(search, counts)
    return search.decision().ratio


def compare(made, metric=HMEAN, tolerance=TOLERANCE):
    """Distances from the exact ratio, and costs in full points; one each per layer."""
    distances, costs, done = [], [], []
    for counts in made.layers.values():
        search = AdaptiveSearch(list(counts), made.baseline, metric, tolerance)
        costs.append(full_points(run(search, counts), len(made.baseline)))
        done.append(search.decision().ratio)
        distances.append(abs(done[-1] - exact_ratio(made.baseline, counts, metric, tolerance)))
    return np.array(distances), np.array(costs)


@pytest.fixture(scope="module")
def receipts():
    return detector(**RECEIPTS)


def layer(losses, seed=0, images=40):
    """Baseline and counts by ratio of a layer with about these losses at 0.1, 0.2, ..."""
    rng = np.random.default_rng(seed)
    gt = rng.integers(20, 60, images)
    baseline = [ImageCounts(int(n), int(n), int(n) - int(n) // 12) for n in gt]
    return baseline, curve(baseline, dict(zip(RATIOS, losses)), rng)


@pytest.mark.parametrize(
    ("kind", "tolerance", "most"),
    [(RECEIPTS, 0.02, 1.6), (RECEIPTS, 0.05, 1.3), (STREETS, 0.02, 2.5), (STREETS, 0.05, 2.3), (MANY, 0.02, 1.3)],
    ids=["receipts", "receipts at 0.05", "streets", "streets at 0.05", "many images"],
)
def test_nine_of_ten_layers_agree_with_the_exact_table_at_a_fraction_of_its_cost(kind, tolerance, most):
    distances, costs = compare(detector(**kind, seed=11), tolerance=tolerance)
    assert np.mean(distances <= 0.05 + 1e-9) >= 0.9
    assert costs.mean() < most


@pytest.mark.parametrize("metric", [PRECISION, RECALL, HMEAN], ids=["precision", "recall", "hmean"])
def test_every_metric_can_be_searched(metric):
    distances, costs = compare(detector(**RECEIPTS, layers=20, seed=12), metric)
    assert np.mean(distances <= 0.05 + 1e-9) >= 0.9
    assert costs.mean() < 1.8


def first_crossing(losses, tolerance):
    """The wrong rule: go up until a loss exceeds the tolerance."""
    under = {}
    for ratio, loss in sorted(losses.items()):
        under[ratio] = loss
        if loss > tolerance:
            break
    return ratio_by_loss(under, tolerance)


@pytest.mark.parametrize("seed", range(5))
def test_a_curve_that_crosses_the_tolerance_twice_gives_its_last_ratio_under(seed):
    baseline, counts = layer([0.0, 0.005, 0.0235, 0.012, 0.01, 0.09, 0.2, 0.4, 0.7], seed)
    exact = ExactSearch(RATIOS, baseline, HMEAN, TOLERANCE)
    run(exact, counts)
    search = AdaptiveSearch(RATIOS, baseline, HMEAN, TOLERANCE)
    run(search, counts)
    assert abs(search.decision().ratio - exact.decision().ratio) <= 0.05
    assert abs(first_crossing(measured(exact), TOLERANCE) - exact.decision().ratio) > 0.2


def test_exact_search_asks_for_everything_once_in_order(receipts):
    counts = next(iter(receipts.layers.values()))
    search = ExactSearch(RATIOS, receipts.baseline, HMEAN, TOLERANCE)
    assert run(search, counts) == [(ratio, 0, 40) for ratio in RATIOS]
    assert search.decision().settled
    assert search.decision().ratio == ratio_by_loss(measured(search), TOLERANCE)
    assert {point.how for point in search.points()} == {"measured"}
    assert measured(search) == estimated(search)


def test_an_interrupted_exact_point_is_continued(receipts):
    counts = next(iter(receipts.layers.values()))
    search = ExactSearch(RATIOS, receipts.baseline, HMEAN, TOLERANCE)
    search.add(0.1, 0, counts[0.1][:7])
    assert search.next() == (0.1, 7, 40)
    assert measured(search) == {}


def test_losses_are_those_of_the_summed_counts(receipts):
    counts = receipts.layers["middle0"] if "middle0" in receipts.layers else next(iter(receipts.layers.values()))
    search = ExactSearch(RATIOS, receipts.baseline, HMEAN, TOLERANCE)
    run(search, counts)
    before, after = (np.sum(part, axis=0) for part in (receipts.baseline, counts[0.5]))
    before, after = (2 * m / (g + p) for g, p, m in (before, after))
    assert measured(search)[0.5] == pytest.approx((before - after) / (before + 1e-3), abs=1e-12)


def test_asking_changes_nothing_and_nothing_is_measured_twice(receipts):
    for counts in list(receipts.layers.values())[:12]:
        search = AdaptiveSearch(RATIOS, receipts.baseline, HMEAN, TOLERANCE)
        known = dict.fromkeys(RATIOS, 0)
        while (request := search.next()) is not None:
            state = search.points(), search.decision()
            assert search.next() == request
            assert (search.points(), search.decision()) == state
            assert request.start == known[request.ratio] < request.stop <= 40
            known[request.ratio] = request.stop
            search.add(request.ratio, request.start, counts[request.ratio][request.start : request.stop])


@pytest.mark.parametrize("chunk", [1, 3, 40])
def test_a_journal_read_in_other_chunks_and_order_gives_the_same_state(receipts, chunk):
    for counts in list(receipts.layers.values())[:6]:
        search = AdaptiveSearch(RATIOS, receipts.baseline, HMEAN, TOLERANCE)
        for _ in range(4):
            if (request := search.next()) is not None:
                search.add(request.ratio, request.start, counts[request.ratio][request.start : request.stop])
        again = AdaptiveSearch(RATIOS, receipts.baseline, HMEAN, TOLERANCE)
        for point in reversed(search.points()):
            for start in range(0, point.images, chunk):
                again.add(point.ratio, start, counts[point.ratio][start : min(start + chunk, point.images)])
        assert again.points() == search.points()
        assert again.decision() == search.decision()
        assert again.next() == search.next()
        assert run(again, counts) == run(search, counts)


def test_the_estimated_table_gives_the_decision_at_every_moment(receipts):
    for counts in list(receipts.layers.values())[:12]:
        search = AdaptiveSearch(RATIOS, receipts.baseline, HMEAN, TOLERANCE)
        assert search.decision()[1:] == (0.0, 0.9, False)
        while True:
            decision, table = search.decision(), estimated(search)
            assert list(table) == list(RATIOS)
            assert decision.ratio == ratio_by_loss(table, TOLERANCE)
            assert decision.low <= decision.ratio <= decision.high
            if (request := search.next()) is None:
                break
            search.add(request.ratio, request.start, counts[request.ratio][request.start : request.stop])
        assert decision.settled
        assert max(decision.high - decision.ratio, decision.ratio - decision.low) <= 0.05 + 1e-6
        assert measured(search).items() <= table.items()


def test_points_say_how_they_are_known_and_hold_the_exact_loss(receipts):
    inside = []
    for counts in receipts.layers.values():
        search, exact = (kind(RATIOS, receipts.baseline, HMEAN, TOLERANCE) for kind in (AdaptiveSearch, ExactSearch))
        run(search, counts)
        run(exact, counts)
        for point in search.points():
            assert point.how == {0: "inferred", 40: "measured"}.get(point.images, "sampled")
            assert point.low <= point.loss <= point.high
            if point.how == "measured":
                assert point.loss == measured(exact)[point.ratio]
            elif point.how == "sampled":
                inside.append(point.low - 1e-12 <= measured(exact)[point.ratio] <= point.high + 1e-12)
    assert len(inside) > 50
    assert np.mean(inside) > 0.9


def test_a_collapsed_layer_costs_a_few_images():
    baseline, counts = layer([0.5, 0.8, 0.9, 0.95, 0.99, 0.99, 0.99, 0.99, 0.99])
    search = AdaptiveSearch(RATIOS, baseline, HMEAN, TOLERANCE)
    assert full_points(run(search, counts), 40) < 1
    assert search.decision().ratio == 0.0


def test_a_layer_without_loss_needs_one_ratio():
    baseline, _ = layer([0] * 9)
    search = AdaptiveSearch(RATIOS, baseline, HMEAN, TOLERANCE)
    asked = run(search, dict.fromkeys(RATIOS, baseline))
    assert search.decision().ratio == 0.9
    assert full_points(asked, 40) <= 1.1


def test_a_loss_next_to_the_tolerance_that_decides_is_measured_whole():
    baseline, counts = layer([0.0201, 0.3, 0.9, 0.95, 0.99, 0.99, 0.99, 0.99, 0.99])
    search = AdaptiveSearch(RATIOS, baseline, HMEAN, TOLERANCE)
    run(search, counts)
    assert set(measured(search)) == {0.1}
    assert search.decision().ratio == pytest.approx(exact_ratio(baseline, counts), abs=1e-3)


@pytest.mark.parametrize("images", [1, 3])
def test_very_few_images_are_enough_to_search_on(images):
    made = detector(images, (20, 40), 0.9, 0.9, layers=10, seed=1)
    distances, costs = compare(made)
    assert np.mean(distances <= 0.05 + 1e-9) >= 0.9
    assert np.all(costs <= 9 * (1 + START_COST / images))


def test_images_where_the_baseline_finds_or_has_nothing_are_no_obstacle():
    made = detector(60, (0, 2), 0.4, 0.6, seed=3)
    table = np.array(made.baseline)
    assert (table == 0).any(axis=0).all()
    assert (table.sum(axis=1) == 0).any()
    distances, _ = compare(made)
    assert np.mean(distances <= 0.05 + 1e-9) >= 0.9


@pytest.mark.parametrize("metric", [PRECISION, RECALL, HMEAN], ids=["precision", "recall", "hmean"])
def test_a_network_that_finds_nothing_is_over_any_tolerance(metric):
    baseline, _ = layer([0] * 9)
    nothing = [ImageCounts(counts.gt, 0, 0) for counts in baseline]
    search = AdaptiveSearch(RATIOS, baseline, metric, TOLERANCE)
    run(search, dict.fromkeys(RATIOS, nothing))
    assert search.decision() == (0.0, 0.0, 0.0, True)


def test_tolerance_zero_accepts_what_loses_nothing(receipts):
    distances, _ = compare(receipts, tolerance=0.0)
    assert np.mean(distances <= 0.05 + 1e-9) >= 0.9
    baseline, _ = layer([0] * 9)
    search = AdaptiveSearch(RATIOS, baseline, HMEAN, 0.0)
    run(search, dict.fromkeys(RATIOS, baseline))
    assert search.decision().ratio == 0.9


@pytest.mark.parametrize("ratios", [(0.5,), (0.9, 0.3), (0.05, 0.1, 0.15, 0.6), (0.25, 0.5, 0.75)])
def test_ratios_of_any_spacing(receipts, ratios):
    rng = np.random.default_rng(0)
    for power in (1, 2, 4):
        counts = curve(receipts.baseline, {ratio: 0.8 * ratio**power for ratio in ratios}, rng)
        search = AdaptiveSearch(ratios, receipts.baseline, HMEAN, TOLERANCE)
        assert search.decision()[1:] == (0.0, max(ratios), False)
        run(search, counts)
        assert abs(search.decision().ratio - exact_ratio(receipts.baseline, counts)) <= 0.05


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ratios": []}, "at least one"),
        ({"ratios": [0.1, 0.1]}, "none twice"),
        ({"ratios": [0.5, 1.0]}, "between 0 and 1"),
        ({"error": 0.0}, "not between 0 and 1"),
        ({"baseline": []}, "nothing to lose"),
        ({"baseline": [ImageCounts(3, 2, 0)]}, "nothing to lose"),
    ],
)
def test_what_cannot_be_searched_is_refused(given, message):
    usual = {"ratios": RATIOS, "baseline": [ImageCounts(3, 3, 3)], "metric": HMEAN, "tolerance": 0.02}
    with pytest.raises(ValueError, match=message):
        AdaptiveSearch(**{**usual, **given})


def test_counts_that_do_not_continue_are_refused(receipts):
    counts = next(iter(receipts.layers.values()))
    search = AdaptiveSearch(RATIOS, receipts.baseline, HMEAN, TOLERANCE)
    search.add(0.2, 0, counts[0.2][:4])
    for ratio, start, stop in ((0.2, 0, 4), (0.2, 8, 12), (0.25, 0, 4)):
        with pytest.raises(ValueError, match="ratio"):
            search.add(ratio, start, counts[0.2][start:stop])
    with pytest.raises(ValueError, match="do not continue"):
        search.add(0.2, 4, counts[0.2])
    assert search.points()[1].images == 4


@pytest.mark.parametrize("images", [1, 2, 3, 4, 5, 40, 100, 500, 5000])
def test_sample_sizes_grow_and_end_with_all_images(images):
    stops = sample_sizes(images)
    assert stops == sorted(set(stops))
    assert stops[-1] == images
    assert len(stops) <= 4 + 2 * np.log2(images)


@pytest.mark.parametrize("metric", [PRECISION, RECALL, HMEAN], ids=["precision", "recall", "hmean"])
@pytest.mark.parametrize("kind", [RECEIPTS, STREETS], ids=["receipts", "streets"])
def test_intervals_miss_no_more_often_than_the_error_level(kind, metric):
    made = detector(**kind, layers=12, seed=5)
    rng = np.random.default_rng(0)
    above, below = [], []
    for _ in range(5):
        order = rng.permutation(len(made.baseline))
        estimator = LossEstimator([made.baseline[i] for i in order], metric, error=0.1)
        for counts in made.layers.values():
            shuffled = [counts[0.4][i] for i in order]
            loss = estimator.estimate(shuffled).loss
            seen = [estimator.estimate(shuffled[:size]) for size in estimator.sample_sizes]
            above.append(any(loss > at.high + 1e-12 for at in seen))
            below.append(any(loss < at.low - 1e-12 for at in seen))
    assert np.mean(above) <= 0.1
    assert np.mean(below) <= 0.1


def test_a_few_unchanged_images_prove_little_and_all_of_them_everything(receipts):
    estimator = LossEstimator(receipts.baseline, HMEAN)
    few, all_of_them = (estimator.estimate(receipts.baseline[:n]) for n in (4, 40))
    assert few.loss == pytest.approx(0, abs=1e-12)
    assert few.high > TOLERANCE / 2
    assert all_of_them[:3] == (0.0, 0.0, 0.0)


def test_what_the_remaining_images_cannot_make_up_is_certain():
    baseline = [ImageCounts(10, 10, 9)] * 10
    nothing_found = [ImageCounts(10, 0, 0)] * 9
    least = LossEstimator(baseline, RECALL, error=1e-9).estimate(nothing_found).low
    assert least >= (0.9 - 0.1) / (0.9 + 1e-3) - 1e-12


def test_a_neighbour_measured_whole_narrows_the_interval_and_a_stranger_does_not():
    made = detector(**STREETS, layers=30, seed=6)
    estimator = LossEstimator(made.baseline, HMEAN)
    rng = np.random.default_rng(0)
    widths, errors = [], []
    for counts in made.layers.values():
        changes = np.subtract(counts[0.4], made.baseline)
        strange = [ImageCounts(*row) for row in made.baseline + rng.permutation(changes)]
        seen = [estimator.estimate(counts[0.3][:48], helper) for helper in (None, counts[0.4], strange)]
        widths.append([at.high - at.low for at in seen])
        errors.append([abs(at.loss - estimator.estimate(counts[0.3]).loss) for at in seen])
    alone, neighbour, stranger = np.mean(widths, axis=0)
    assert neighbour < 0.95 * alone
    assert stranger > 0.95 * alone
    alone, neighbour, _ = np.mean(errors, axis=0)
    assert neighbour < alone
