"""How far an analysis is, and the time that the rest of it takes."""

from __future__ import annotations

import pytest
from exact_searches import IMAGES, OPEN, Clock, answer, exact

from ocrslim.sensitivity.progress import Progress
from ocrslim.sensitivity.search.search import SAMPLED, Decision, Point


class Sampled:
    """An adaptive search, as far as a display sees it."""

    def __init__(self):
        self.known, self.images, self.how = OPEN, 0, SAMPLED

    def points(self):
        return [Point(0.5, self.images, 0.1, 0.0, 0.2, self.how)]

    def decision(self):
        return self.known


def test_remaining_time_is_images_left_at_the_rate_so_far():
    clock, searches = Clock(), exact("ab")
    progress = Progress(searches, IMAGES, clock)
    assert progress.left is None
    assert progress.points_per_minute is None
    clock.now += 10
    answer(searches["a"])
    progress.measured("a")
    assert progress.left == pytest.approx(50)
    assert progress.points_per_minute == pytest.approx(6)
    clock.now += 4
    assert progress.left == pytest.approx(46)


def test_points_of_an_earlier_run_do_not_count_for_the_rate():
    clock, searches = Clock(), exact("ab", points=2)
    progress = Progress(searches, IMAGES, clock)
    assert progress.done() == "2 of 6 points, 0 of 2 layers settled"
    clock.now += 10
    answer(searches["a"])
    progress.measured("a")
    assert progress.points_per_minute == pytest.approx(6)
    assert progress.left == pytest.approx(30)
    assert progress.done() == "3 of 6 points, 1 of 2 layers settled"


def test_nothing_is_left_once_all_layers_are_settled():
    searches = exact("a", points=3)
    assert Progress(searches, IMAGES, Clock()).left == 0


def test_adaptive_time_follows_layers_settled_and_intervals_narrowed():
    clock, searches = Clock(), {name: Sampled() for name in "abc"}
    progress = Progress(searches, IMAGES, clock)
    clock.now += 10
    searches["a"].known, searches["a"].images = Decision(0.2, 0.1, 0.3, True), 4
    progress.measured("a")
    assert progress.left == pytest.approx(20)
    # as long again for a layer whose interval shrinks by as much as is left: two thirds of 2.5 layers' time
    clock.now += 5
    searches["b"].known, searches["b"].images = Decision(0.2, 0.1, 0.4, False), 2
    progress.measured("b")
    assert progress.left == pytest.approx(15)
    assert progress.done() == "1 of 3 layers settled, 6 images (1.5 points)"


def test_an_interval_that_grows_again_does_no_harm():
    clock, searches = Clock(), {name: Sampled() for name in "ab"}
    searches["a"].known = Decision(0.2, 0.1, 0.2, False)
    progress = Progress(searches, IMAGES, clock)
    clock.now += 10
    searches["a"].known, searches["a"].images = OPEN, 2
    progress.measured("a")
    assert progress.left is None
    assert "points/min" in progress.speed()
