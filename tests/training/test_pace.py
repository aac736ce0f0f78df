"""How many epochs of a training fit into some minutes."""

from __future__ import annotations

from ocrslim.training import Pace


def test_epochs_fill_the_time_that_evaluations_leave():
    pace = Pace(step=2.0, evaluation=10.0, steps_per_epoch=4)
    assert pace.epochs_within(60 * 20, evaluations=8) == 140
    assert pace.epochs_within(60 * 20, evaluations=0) == 150


def test_a_time_that_is_too_short_has_one_epoch():
    assert Pace(2.0, 10.0, 4).epochs_within(5.0, 8) == 1
