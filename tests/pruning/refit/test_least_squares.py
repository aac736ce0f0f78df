"""The least squares behind a refit, against NumPy's own solver and at the ends of the ridge."""

from __future__ import annotations

import numpy as np
import pytest

from ocrslim.pruning.refit.least_squares import NormalEquations


def samples(count: int = 200, inputs: int = 5, outputs: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Rows off the origin and a residual with a constant in it, for two blocks."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((2, count, inputs)) + 3
    wanted = rows @ rng.standard_normal((2, inputs, outputs)) + np.arange(outputs)
    return rows, wanted + 0.1 * rng.standard_normal(wanted.shape)


def summed(rows: np.ndarray, residual: np.ndarray, parts: int = 3) -> NormalEquations:
    equations = NormalEquations(rows.shape[0], rows.shape[2], residual.shape[2])
    for some, others in zip(np.array_split(rows, parts, axis=1), np.array_split(residual, parts, axis=1)):
        equations.add(some.astype(np.float32), others)
    return equations


@pytest.mark.parametrize("offset", [True, False])
def test_without_a_ridge_it_is_least_squares(offset):
    rows, residual = samples()
    change = summed(rows, residual).solve(0.0, offset)
    for block in range(2):
        columns = np.hstack([rows[block], np.ones((len(rows[block]), 1))]) if offset else rows[block]
        expected = np.linalg.lstsq(columns, residual[block], rcond=None)[0]
        assert np.allclose(change.weight[block], expected[:5], atol=1e-4)
        assert np.allclose(change.offset[block], expected[5] if offset else 0, atol=1e-4)


def test_a_strong_ridge_leaves_the_weights_and_moves_the_offset_alone():
    rows, residual = samples()
    change = summed(rows, residual).solve(1e9, True)
    assert np.abs(change.weight).max() < 1e-6
    assert np.allclose(change.offset, residual.mean(axis=1), atol=1e-4)


def test_outputs_of_one_channel_share_their_offset():
    rows, residual = samples()
    alone, shared = (summed(rows, residual).solve(0.0, True, taps) for taps in (1, 2))
    assert np.allclose(shared.offset[:, 0], alone.offset[:, :2].mean(axis=1))
    assert np.array_equal(shared.offset[:, 0::2], shared.offset[:, 1::2])
    assert not np.allclose(alone.offset[:, 0], alone.offset[:, 1])


def test_inputs_that_are_always_zero_or_alike_change_nothing_that_is_not_finite():
    rows, residual = samples()
    rows[0] = 0
    rows[1, :, 1] = rows[1, :, 0]
    change = summed(rows, residual).solve(0.0, True)
    assert np.isfinite(change.weight).all() and not change.weight[0].any()
    assert np.allclose(change.weight[1, 0], change.weight[1, 1], atol=1e-3)


def test_a_value_that_is_not_finite_is_noticed():
    rows, residual = samples()
    assert summed(rows, residual).finite
    rows[0, 0, 0] = np.nan
    assert not summed(rows, residual).finite
