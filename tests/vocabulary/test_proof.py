"""The comparison of probabilities, and the lines that it is made on."""

from __future__ import annotations

import numpy as np
import pytest

from ocrslim.errors import ExportError
from ocrslim.vocabulary.proof import drawn_lines, probability_difference, require_same

KEPT = np.array([0, 2, 3])


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return (powers / powers.sum(-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 6, 5)) * 4


def test_fewer_logits_make_the_renormalised_probabilities(logits):
    assert probability_difference(softmax(logits), softmax(logits[..., KEPT]), KEPT) < 1e-6


def test_other_classes_and_other_numbers_of_them_do_not(logits):
    assert probability_difference(softmax(logits), softmax(logits[..., [0, 1, 3]]), KEPT) > 1e-3
    assert probability_difference(softmax(logits), softmax(logits), KEPT) == np.inf
    assert probability_difference(softmax(logits)[..., :3], softmax(logits[..., KEPT]), KEPT) == np.inf
    with pytest.raises(ExportError, match="differ by .*nothing was written"):
        require_same(softmax, lambda one: softmax(one[..., [0, 1, 3]]), KEPT, [logits])


def test_a_step_with_nothing_of_the_kept_classes_says_nothing(logits):
    logits[0, 2, 1] = 200  # all of it, in float32
    small = softmax(logits[..., KEPT])
    assert probability_difference(softmax(logits), small, KEPT) < 1e-6
    assert np.isnan(probability_difference(softmax(logits), small * np.nan, KEPT))
    with pytest.raises(ExportError):
        require_same(softmax, lambda one: softmax(one[..., KEPT]) * np.nan, KEPT, [logits])


def test_lines_are_drawn_in_the_size_that_is_asked_for():
    lines = drawn_lines(["A", "B", "中"], (1, 3, 32, 96))
    assert {line.shape for line in lines} == {(1, 3, 32, 96)} and {line.dtype.name for line in lines} == {"float32"}
    assert all(line.min() < -0.5 and line.max() > 0.5 and line.min() >= -1 and line.max() <= 1 for line in lines)
    assert not np.array_equal(lines[0], lines[1])
