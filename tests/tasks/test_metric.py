"""The ICDAR metric against hand-computed cases and a slow, literal implementation of the protocol."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from shapely.geometry import Polygon

from ocrslim.config.config import load_config
from ocrslim.tasks.detection.metric import ImageCounts, match, scores_of


def box(x: float, y: float, width: float, height: float) -> np.ndarray:
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], dtype=np.float32)


BOWTIE = np.array([[0, 0], [10, 10], [10, 0], [0, 10]], dtype=np.float32)


def counts(pred, gt, ignore=None) -> ImageCounts:
    return match(pred, gt, np.array(ignore or [False] * len(gt), dtype=bool))


UNIT = box(0, 0, 10, 10)
ARROW = np.array([[0, 0], [10, 0], [15, 5], [10, 10], [0, 10], [0, 10]])


@pytest.mark.parametrize(
    ("pred", "gt", "ignore", "expected"),
    [
        pytest.param([box(0, 0, 9, 9)], [UNIT], None, (1, 1, 1), id="overlap-of-81-percent"),
        pytest.param([UNIT], [box(0, 0, 20, 10)], None, (1, 1, 0), id="iou-exactly-a-half"),
        pytest.param([box(0, 0, 10.01, 10)], [box(0, 0, 20, 10)], None, (1, 1, 1), id="just-above-a-half"),
        pytest.param([box(10, 0, 10, 10)], [UNIT], None, (1, 1, 0), id="shared-edge"),
        pytest.param([], [box(0, 0, 5, 5)], None, (1, 0, 0), id="nothing-found"),
        pytest.param([box(0, 0, 5, 5)], [], None, (0, 1, 0), id="no-text-in-the-image"),
        pytest.param([], [], None, (0, 0, 0), id="nothing-at-all"),
        pytest.param([box(0, 0, 9, 9)] * 2, [UNIT], None, (1, 2, 1), id="second-hit-is-false"),
        pytest.param([UNIT], [box(0, 0, 9, 9)] * 2, None, (2, 1, 1), id="one-hit-for-one-label"),
        pytest.param([box(0, 0, 6, 10)], [UNIT], [True], (0, 0, 0), id="on-dont-care"),
        pytest.param([box(0, 0, 20, 10)], [UNIT], [True], (0, 1, 0), id="half-on-dont-care-counts"),
        pytest.param(
            [UNIT],
            [UNIT, box(0, 0, 12, 10)],
            [False, True],
            (1, 0, 0),
            id="dont-care-takes-a-detection-away-from-its-label",
        ),
        pytest.param(
            [box(0, 0, 20, 10)],
            [box(0, 0, 8, 10), box(12, 0, 8, 10)],
            [True, True],
            (0, 1, 0),
            id="dont-care-regions-do-not-add-up",
        ),
        pytest.param([BOWTIE, UNIT], [BOWTIE, UNIT], None, (1, 1, 1), id="crossed-polygons"),
        pytest.param([box(0, 0, 0, 5)], [box(0, 0, 10, 0)], None, (0, 0, 0), id="polygons-without-area"),
        pytest.param([np.zeros((2, 2))], [box(0, 0, 5, 5)], None, (1, 0, 0), id="two-points"),
        pytest.param([np.full((4, 2), np.nan)], [box(0, 0, 5, 5)], None, (1, 0, 0), id="nan"),
        pytest.param(
            [ARROW],
            [box(0, 0, 11, 10)],
            None,
            (1, 1, 1),
            id="six-points-one-repeated",
        ),
    ],
)
def test_one_image(pred, gt, ignore, expected):
    assert counts(pred, gt, ignore) == expected


def test_greedy_order_is_labels_then_detections():
    # label 0 takes the first detection that will do, though label 1 has no other
    labels = [box(0, 0, 10, 10), box(2, 0, 10, 10)]
    detections = [box(1, 0, 10, 10), box(-3, 0, 10, 10)]
    assert counts(detections, labels).matched == 1
    assert counts(detections[::-1], labels).matched == 2


def test_summary_sums_counts_before_dividing():
    found = match([box(0, 0, 10, 10)], [box(0, 0, 10, 10)], np.array([False]))
    missed = match([box(50, 0, 10, 10)] * 3, [box(0, 0, 10, 10)], np.array([False]))
    assert scores_of([found, missed]) == pytest.approx({"precision": 1 / 4, "recall": 1 / 2, "hmean": 1 / 3})
    assert scores_of([]) == {"precision": 0.0, "recall": 0.0, "hmean": 0.0}


def test_ratios_of_nothing_are_zero():
    counts = match([box(0, 0, 4, 4)], [], np.array([], dtype=bool))
    assert scores_of([counts]) == {"precision": 0.0, "recall": 0.0, "hmean": 0.0}


def test_a_flag_for_every_label():
    with pytest.raises(ValueError, match="1 labelled polygons but 2"):
        match([], [box(0, 0, 4, 4)], np.array([True, False]))


def slow_counts(pred, gt, ignore) -> tuple[int, int, int]:
    """The protocol word for word, one pair at a time."""
    labels = [(Polygon(p), flag) for p, flag in zip(gt, ignore) if Polygon(p).is_valid]
    found = []
    for points in pred:
        polygon = Polygon(points)
        if polygon.is_valid:
            dull = any(f and g.intersection(polygon).area / polygon.area > 0.5 for g, f in labels)
            found.append((polygon, dull))
    used, matched = set(), 0
    for label, ignored in labels:
        for number, (polygon, dull) in enumerate(found):
            if ignored or dull or number in used:
                continue
            if polygon.intersection(label).area / polygon.union(label).area > 0.5:
                used.add(number)
                matched += 1
                break
    return sum(not f for _, f in labels), sum(not d for _, d in found), matched


def random_polygon(rng: np.random.Generator, near: np.ndarray | None) -> np.ndarray:
    if near is not None:
        return near + rng.normal(0, rng.choice([0.5, 3, 8]), near.shape)
    centre, size, angle = rng.uniform(0, 120, 2), rng.uniform(2, 40, 2), rng.uniform(0, np.pi)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    polygon = corners @ turn.T + centre
    # detections come in whole pixels, and there the thresholds are met exactly
    return np.round(polygon) if rng.random() < 0.5 else polygon


def test_agrees_with_the_protocol_word_for_word():
    rng = np.random.default_rng(7)
    total = np.zeros(3, dtype=int)
    for _ in range(150):
        gt = [random_polygon(rng, None) for _ in range(rng.integers(0, 25))]
        pred = [random_polygon(rng, gt[rng.integers(len(gt))] if gt and rng.random() < 0.7 else None)
                for _ in range(rng.integers(0, 30))]  # fmt: skip
        ignore = rng.random(len(gt)) < 0.3
        expected = slow_counts(pred, gt, ignore)
        assert match(pred, gt, ignore) == expected
        total += expected
    assert (total > 100).all(), "the cases are too easy to tell anything"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "resize", "count", "expected"),
    [
        pytest.param("icdar2015", "image_shape: [736, 1280]", 20, {"hmean": 0.4662576687}, id="icdar-first-20"),
        pytest.param(
            "sroie",
            "limit_side_len: 960, limit_type: max",
            40,
            {"precision": 0.9318978468, "recall": 0.8895793499, "hmean": 0.9102470042},
            id="sroie-val",
        ),
    ],
)
def test_the_scores_of_paddleocrs_own_code(shared, pp_ocrv2, v2_config, name, resize, count, expected):
    """FACTS.md, "Scores of the PP-OCRv2 weights": transforms, network, post-processing and metric together."""
    from ocrslim.data.eval_set import EvalSet, scan
    from ocrslim.evaluation.evaluator import Scorer
    from ocrslim.inference.engines import DygraphEngine
    from ocrslim.models import load_weights
    from ocrslim.models.factory import build_model

    folder = shared / "data" / name
    config = load_config(
        v2_config,
        [
            f"Eval.dataset.data_dir={folder}/images",
            f"Eval.dataset.label_file_list=[{folder}/val.txt]",
            f"Eval.dataset.transforms.DetResizeForTest={{{resize}}}",
        ],
    )
    labelled = scan(config, "Eval")
    labelled = dataclasses.replace(labelled, samples=labelled.samples[:count])
    model = build_model(config.section("Architecture"))
    load_weights(model, pp_ocrv2)
    scores = Scorer(config)(DygraphEngine(model), EvalSet(labelled, config))
    for key, value in expected.items():
        assert scores[key] == pytest.approx(value, abs=1e-9)
