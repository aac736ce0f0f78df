"""What a compression works on: the unpruned model, the images, and the user's labels, each in its parts."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path

from ocrslim.compression.files import formats_for
from ocrslim.compression.images import (
    Lists,
    Split,
    find_labels,
    nothing_found,
    split,
    too_few,
    whole_pages,
    write_lists,
)
from ocrslim.compression.journal import Advance, Journal, Result
from ocrslim.compression.labels import LabelFiles, divide_labels
from ocrslim.compression.request import Request
from ocrslim.compression.settings import held_out, of_cut_model, run_config
from ocrslim.config import Config
from ocrslim.pruning import load_network
from ocrslim.utils import hash_value, read_json, write_json
from ocrslim.vocabulary import cut_characters

logger = logging.getLogger(__name__)

CHARSET, LOOK = "charset", "look"  # steps
_FOUND = "found.json"
_MADE_BY = "ocrslim compress"


class Material:
    """Model, images and labels; what takes long is a step of the journal, done when it is first asked for.

    Attributes:
        request: what is asked for.
        original: configuration of the model as it came.
        journal: of the run.
    """

    def __init__(self, request: Request, original: Config, journal: Journal):
        self.request, self.original, self.journal = request, original, journal

    @functools.cached_property
    def cut(self) -> Result | None:
        """The model with fewer characters: `model`, `classes` before and after, `unknown`; None where all are kept."""
        wanted, folder = self.request.wanted, self.request.run / CHARSET
        if wanted is None:
            return None

        def work(_: Advance) -> Result:
            made = cut_characters(self.original, wanted, folder)
            return {"model": str(made.model), "classes": list(made.classes), "unknown": list(made.unknown)}

        return self.journal.do(CHARSET, "characters", work, lambda found: Path(found["model"]).is_file())

    @functools.cached_property
    def unpruned(self) -> Config:
        """Configuration of the unpruned model: the one that came, or the one with fewer characters."""
        return self.original if self.cut is None else of_cut_model(self.request, Path(self.cut["model"]))

    @functools.cached_property
    def found(self) -> Mapping[str, str | None]:
        """What the unpruned model finds in the images, by name, as a label; None where that is nothing."""
        file = self.request.run / _FOUND

        def work(_: Advance) -> Result:
            load_network(self.unpruned)  # what cannot be pruned is told before all images are run
            labels = find_labels(self.unpruned, self.request.images)
            write_json(file, labels)
            return {"hash": hash_value(labels)}

        def intact(found: Result) -> bool:
            return file.is_file() and hash_value(read_json(file, _MADE_BY)) == found["hash"]

        self.journal.do(LOOK, "looking at the images", work, intact)
        labels: Mapping[str, str | None] = read_json(file, _MADE_BY)
        return labels

    @functools.cached_property
    def parts(self) -> Split:
        """The images in which something is found, divided."""
        left_out = nothing_found(self.found)
        if left_out:
            logger.info("%s", left_out)
        parts = split([name for name, label in self.found.items() if label is not None], self.unpruned.seed)
        names, task = [*parts.calibration, *parts.choice, *parts.held_out], self.unpruned.task
        for warning in (whole_pages(self.request.images, names, task), too_few(parts, self.found, task)):
            if warning:
                logger.warning("%s", warning)
        return parts

    @functools.cached_property
    def lists(self) -> Lists:
        """The files that name them."""
        return write_lists(self.parts, self.found, self.request.run)

    @functools.cached_property
    def labels(self) -> LabelFiles | None:
        """The user's labels; None without any."""
        given = self.request.labels
        return None if given is None else divide_labels(self.unpruned, given, self.parts, self.request.run)

    @functools.cached_property
    def config(self) -> Config:
        """Configuration by which the run chooses, prunes, refits and exports."""
        return formats_for(self.request.model, run_config(self.unpruned, self.request, self.parts, self.lists))

    @functools.cached_property
    def held_out(self) -> Config:
        """The same, scoring on the images that are held out."""
        return held_out(self.config, self.lists)
