"""The one way to score a detector: engine, post-processing and metric over an evaluation set."""

from __future__ import annotations

from ocrslim.data import EvalSet, NetworkMemory
from ocrslim.inference import Engine
from ocrslim.tasks.detection.metric import DetMetric
from ocrslim.tasks.detection.post_process import PostProcess
from ocrslim.utils import progress_bar


def evaluate(engine: Engine, images: EvalSet, post_process: PostProcess, desc: str = "eval") -> dict[str, float]:
    """Score `engine` on `images`, with a progress bar on standard error.

    Returns:
        precision, recall and hmean, each 0..1.

    Raises:
        DataError: an image takes more memory than there is.
    """
    NetworkMemory(engine).require(*images.largest)
    metric = DetMetric()
    with progress_bar(range(len(images)), inner=True, desc=desc, unit="img") as bar:
        for index in bar:
            shrink_map = engine(images.image(index))
            item = images[index]
            metric.update(post_process(shrink_map, item.shape), item.polys, item.ignore)
    return metric.summary()
