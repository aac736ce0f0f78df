"""What is asked of a pair of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ocrslim.compression import RUN, model_identity, settings_identity
from ocrslim.config import DETECTOR, RECOGNISER, Config
from ocrslim.errors import DataError
from ocrslim.utils import hash_bytes, hash_value, read_file

LATENCY = "latency"
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class PairRequest:
    """What is asked of a compression of two models.

    Attributes:
        detector, recogniser: inference folders or ONNX files, or checkpoints beside their configuration.
        images: folder of pages.
        out: folder for the two smaller models and for everything that is known of them.
        target: the fraction of a page's seconds to remove; None for the largest that costs a hundredth of agreement.
        labels: label file of some or all of the pages, boxes with texts; None without one.
        minutes: to train for, both together; 0 for a refit alone.
        command: the command line, for the record.
    """

    detector: Path
    recogniser: Path
    images: Path
    out: Path
    target: float | None = None
    labels: Path | None = None
    minutes: float = 0.0
    command: str = "ocrslim compress"

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.out / RUN

    def models(self) -> dict[str, Path]:
        """Return the two models by task."""
        return {DETECTOR: self.detector, RECOGNISER: self.recogniser}

    def identity(self, configs: Mapping[str, Config], pages: Mapping[str, str]) -> dict[str, str]:
        """Return everything that the result depends on, each under the words by which a person knows it.

        Args:
            pages: hash of each page, by name.
        """
        models = {f"--{task}": model_identity(path) for task, path in self.models().items()}
        export = configs[DETECTOR].export
        return {
            **models,
            "--images": f"{len(pages)} of hash {hash_value(dict(pages))[:12]}",
            "--target": "none" if self.target is None else f"{LATENCY}={self.target:g}",
            "--labels": "none" if self.labels is None else f"{self.labels.name} ({self.labels_hash()})",
            "--minutes": f"{self.minutes:g}",
            "--runtime": export.runtime,
            "--threads": str(export.threads),
            "configuration": hash_value([settings_identity(config) for config in configs.values()])[:12],
        }

    def labels_hash(self) -> str:
        """Hash the label file.

        Raises:
            DataError: it is missing, or cannot be read.
        """
        assert self.labels is not None
        try:
            return hash_bytes(read_file(self.labels, _MOST_BYTES))[:12]
        except OSError as error:
            raise DataError(f"--labels {self.labels}: cannot be read: {error.strerror}") from None
