"""Small exact searches for what shows how far they are."""

from __future__ import annotations

from detection import HMEAN

from ocrslim.sensitivity.search.search import Decision, ExactSearch
from ocrslim.tasks.detection.metric import ImageCounts

RATIOS = [0.1, 0.5, 0.9]
IMAGES = 4
OPEN = Decision(0.0, 0.0, 0.9, False)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def exact(layers, points=0):
    """Searches of layers called a, b, ... of which the first has some points already."""
    searches = {name: ExactSearch(RATIOS, [ImageCounts(9, 9, 9)] * IMAGES, HMEAN, 0.02) for name in layers}
    for _ in range(points):
        answer(searches[layers[0]])
    return searches


def answer(search):
    request = search.next()
    search.add(request.ratio, request.start, [ImageCounts(9, 9, 4)] * (request.stop - request.start))
