"""Evaluation of a network: engine, post-processing and metric over an evaluation set."""

from __future__ import annotations

from ocrslim.config import Config
from ocrslim.data import EvalSet, NetworkMemory
from ocrslim.errors import ConfigError
from ocrslim.inference import Engine
from ocrslim.tasks import Counts, PostProcess
from ocrslim.utils import progress_bar


class Scorer:
    """The post-processing and the metric of a configuration."""

    def __init__(self, config: Config):
        """
        Raises:
            ConfigError: PaddleOCR refuses the values of `PostProcess`.
        """
        self.task = config.task
        self.post_process = post_processor(config)

    def __call__(
        self, engine: Engine, images: EvalSet, desc: str = "eval", counts: list[Counts] | None = None
    ) -> dict[str, float]:
        """Score `engine` on `images`, with a progress bar on standard error.

        Args:
            counts: list to which the counts of each image are appended.

        Returns:
            the task's scores, each 0..1: for detection precision, recall and hmean.

        Raises:
            DataError: an image needs more memory than is available.
        """
        NetworkMemory(engine, self.task).require(*images.largest)
        counts = [] if counts is None else counts
        with progress_bar(range(len(images)), inner=True, desc=desc, unit="img") as bar:
            for index in bar:
                output, item = engine(images.image(index)), images[index]
                counts.append(self.task.count(self.post_process(output, item.shape), item.target))
        return self.task.scores(counts)


def post_processor(config: Config) -> PostProcess:
    """Make the post-processing of the section `PostProcess`: a function of output and image shape to a prediction.

    Raises:
        ConfigError: PaddleOCR refuses the values of the section.
    """
    try:
        return config.task.post_process(config.section("PostProcess"), config.section("Global"))
    except (AssertionError, TypeError, ValueError) as error:
        raise ConfigError(f"{config.path}: PostProcess: PaddleOCR refuses it: {error}") from None
