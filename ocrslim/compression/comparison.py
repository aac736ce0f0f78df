"""The smaller model as a file: exported, and held against the model as it came."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

from ocrslim.compression.agreement import agreement_of, score_counts, score_record
from ocrslim.compression.baseline import Baseline
from ocrslim.compression.cutting import Pruned
from ocrslim.compression.files import export_to, is_whole
from ocrslim.compression.journal import Advance, Result
from ocrslim.compression.material import Material
from ocrslim.compression.samples import choose_samples, write_samples
from ocrslim.compression.times import AFTER, REWRITTEN, compare
from ocrslim.data import scan
from ocrslim.evaluation import open_engine
from ocrslim.formats import exported_files
from ocrslim.inference import RUNTIMES, Engine

logger = logging.getLogger(__name__)

EXPORT, AGREE, SCORE, TIME, SHOW = "export", "agree", "score", "time", "show"  # steps


class Comparison:
    """What the smaller model is, brings and costs."""

    def __init__(self, material: Material, baseline: Baseline, pruned: Pruned):
        self._material, self._baseline, self._pruned = material, baseline, pruned

    @functools.cached_property
    def exported(self) -> Result:
        """The files in `Request.out`, and their proof."""
        request, material = self._material.request, self._material

        def work(_: Advance) -> Result:
            return export_to(request.out, self._pruned.network(), material.config, request.run / EXPORT)

        return material.journal.do(EXPORT, "exporting", work, lambda found: is_whole(found, request.out))

    @functools.cached_property
    def agreement(self) -> Result:
        """The `agreement` on the images held out, and those among them that are shown."""
        material = self._material
        config = material.held_out

        def work(_: Advance) -> Result:
            counts = score_counts(self._engine, config, material.lists.held_out, "agreement")
            names = [sample.name for sample in scan(config, "Eval").samples]
            return {"agreement": agreement_of(counts, config).to_json(), "shown": choose_samples(names, counts)}

        return material.journal.do(AGREE, "comparing on images held out", work)

    @functools.cached_property
    def score(self) -> Result | None:
        """Scores by labels of the model as it came and of the smaller one; None without labels."""
        material = self._material
        labels = None if material.labels is None else material.labels.held_out
        if material.labels is not None and labels is None:
            logger.warning("--labels %s: none of the images held out has a label: no score", material.request.labels)
        if labels is None:
            return None

        def work(_: Advance) -> Result:
            config, engines = material.original, (open_engine(material.original), self._engine)
            counts = [score_counts(engine, config, labels, "score") for engine in engines]
            return score_record(config, *counts)

        return material.journal.do(SCORE, "scoring by labels", work)

    @functools.cached_property
    def times(self) -> Result:
        """The `rows` of times, and the bytes of the rewritten file."""
        baseline = self._baseline

        def work(_: Advance) -> Result:
            files = {**baseline.files, AFTER: self._file}
            rewritten = sum(path.stat().st_size for path in exported_files(files[REWRITTEN]))
            return {"rows": compare(files, self._material.config, baseline.size), "bytes": rewritten}

        return self._material.journal.do(TIME, "timing", work)

    @functools.cached_property
    def samples(self) -> list[dict[str, Any]]:
        """A few images with what both models find in them."""
        material = self._material
        out = material.request.out

        def work(_: Advance) -> Result:
            engines = (open_engine(material.unpruned), self._engine)
            return {"samples": write_samples(self.agreement["shown"], material.held_out, engines, out)}

        def intact(found: Result) -> bool:
            return all((out / each["image"]).is_file() for each in found["samples"])

        return list(material.journal.do(SHOW, "samples", work, intact)["samples"])

    @functools.cached_property
    def _file(self) -> Path:
        assert self.exported  # which wrote it
        return RUNTIMES[self._material.config.export.runtime].file_of(self._material.request.out)

    @functools.cached_property
    def _engine(self) -> Engine:
        return RUNTIMES[self._material.config.export.runtime].open(self._file, 1, True)
