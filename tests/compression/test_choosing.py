"""The search for the largest target that the images bear."""

from __future__ import annotations

import pytest

from ocrslim.compression.choosing import largest_bearable


@pytest.mark.parametrize("most", range(19))
def test_the_largest_bearable_step_is_found_in_a_few_trials(most):
    tried = []

    def bearable(step: int) -> bool:
        tried.append(step)
        return step <= most

    assert largest_bearable(bearable) == most
    assert len(tried) <= 5 and tried[0] == 6 and len(set(tried)) == len(tried)
