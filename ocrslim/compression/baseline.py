"""What a smaller model is compared with: the model as it came, and the same only rewritten."""

from __future__ import annotations

import functools
from pathlib import Path

from ocrslim.compression.files import original_for, unpruned_for
from ocrslim.compression.journal import Advance, Result
from ocrslim.compression.material import Material
from ocrslim.compression.times import BEFORE, REWRITTEN, Row, compare, row_of, usual_size
from ocrslim.data import scan
from ocrslim.tasks import Size

AHEAD = "ahead"  # a step


class Baseline:
    """The files of the unpruned model in the runtime that it is timed in."""

    def __init__(self, material: Material):
        self._material = material

    @functools.cached_property
    def files(self) -> dict[str, Path]:
        """The file as it came, and the rewritten one, by their names in a row of times."""
        material = self._material
        run = material.request.run
        return {
            BEFORE: original_for(material.request.model, material.original, run / BEFORE),
            REWRITTEN: unpruned_for(material.config, run / REWRITTEN),
        }

    @functools.cached_property
    def size(self) -> Size:
        """Height and width that the median of the images held out has for the network."""
        config = self._material.held_out
        return usual_size(config, [sample.size for sample in scan(config, "Eval").samples])

    @property
    def rewritten_ratio(self) -> float:
        """Time of the rewritten file relative to the one that came; a step of its own, before anything is pruned."""
        return float(row_of(self._rows, self._material.config.export.threads)[f"ratio_{REWRITTEN}"])

    @functools.cached_property
    def _rows(self) -> list[Row]:
        config = self._material.config

        def work(_: Advance) -> Result:
            return {"rows": compare(self.files, config, self.size, (config.export.threads,))}

        return list(self._material.journal.do(AHEAD, "timing the unpruned model", work)["rows"])
