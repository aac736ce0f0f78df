"""A network on images: what it finds in each that can be read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.data import NetworkMemory, Prepared, Preprocessor
from ocrslim.errors import DataError
from ocrslim.evaluation.evaluator import post_processor
from ocrslim.inference import Engine
from ocrslim.utils import progress_bar

logger = logging.getLogger(__name__)


def run_images(
    engine: Engine, config: Config, paths: Sequence[Path], desc: str, *, strict: bool = False
) -> Iterator[tuple[Path, Prepared, Any]]:
    """Run a network on images; yield each with the image as it was run, and the prediction, in the task's form.

    Args:
        config: of the network.
        desc: of the progress bar.
        strict: raise for an image that cannot be read; otherwise it is left out, with a warning.

    Raises:
        DataError: an image cannot be read, or is too large, where `strict` says so.
    """
    load, decode = Preprocessor(config, NetworkMemory(engine, config.task)), post_processor(config)
    with progress_bar(paths, desc=desc, unit="img") as bar:
        for path in bar:
            try:
                prepared = load(path)
            except DataError as error:
                if strict:
                    raise
                with bar.external_write_mode():
                    logger.warning("left out: %s", error)
                continue
            yield path, prepared, decode(engine(prepared.image), prepared.shape)
