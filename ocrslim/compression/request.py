"""What is asked of a compression, and by what two requests differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.formats import exported_files, is_exported, named_network, resolve_checkpoint
from ocrslim.tasks import Wanted
from ocrslim.utils import hash_bytes, hash_value, read_file

RUN = "run"  # the folder in `out` that a run goes on from
_MOST_BYTES = 4 << 30
# settings that options say, or that the result does not depend on
_NAMED_OTHERWISE = frozenset(
    "Global.save_model_dir Global.overwrite Global.pretrained_model Architecture.program Architecture.checksum "
    "Train.dataset.data_dir Train.dataset.label_file_list Eval.dataset.data_dir Eval.dataset.label_file_list "
    "Export.runtime Export.threads Export.formats Prune.target".split()
)


@dataclass(frozen=True)
class Request:
    """What is asked of a compression, beside the configuration of its model.

    Attributes:
        model: an inference folder, an ONNX file, or a checkpoint with its configuration.
        images: folder of images.
        out: folder for the smaller model and for everything that is known of it.
        target: the fraction to remove of one cost, such as {"macs": 0.5}; None for the largest that the images bear.
        labels: label file of some or all of the images; None without one.
        minutes: to train for; 0 for a refit alone.
        wanted: the characters that a recogniser keeps; None for all of them.
        config: file of the configuration; None where the model says how it is run.
        options: overrides of the configuration, as for `load_model_config`.
        task: what the model is for, where nothing else says so.
        command: the command line, for the record.
    """

    model: Path
    images: Path
    out: Path
    target: Mapping[str, float] | None = None
    labels: Path | None = None
    minutes: float = 0.0
    wanted: Wanted | None = None
    config: Path | None = None
    options: tuple[str, ...] = ()
    task: str | None = None
    command: str = "ocrslim compress"

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.out / RUN

    def identity(self, config: Config, images: Mapping[str, str]) -> dict[str, str]:
        """Return everything that the result depends on, each under the words by which a person knows it.

        Args:
            images: hash of each image, by name.
        """
        target = ", ".join(f"{kind}={value:g}" for kind, value in (self.target or {}).items())
        export = config.export
        return {
            "MODEL": model_identity(self.model),
            "--images": f"{len(images)} of hash {hash_value(dict(images))[:12]}",
            "--target": target or "none",
            "--labels": "none" if self.labels is None else f"{self.labels.name} ({_content_hash(self.labels)})",
            "--minutes": f"{self.minutes:g}",
            "--chars": "all" if self.wanted is None else f"{self.wanted.source} ({_wanted_hash(self.wanted)})",
            "--runtime": export.runtime,
            "--threads": str(export.threads),
            "--formats": ", ".join(export.formats or ()) or "that of MODEL",
            **settings_identity(config),
        }


def model_identity(model: Path) -> str:
    """Return the name of a model and a hash of its files, wherever they lie.

    Raises:
        WeightsError: they are missing.
    """
    return f"{model.resolve().name} (SHA-256 {file_hash(model)[:12]})"


def settings_identity(config: Config) -> dict[str, str]:
    """Return the settings of a configuration that say neither where something lies nor what has an option."""
    return {key: text for key, text in _flat(config.tree) if key not in _NAMED_OTHERWISE}


def file_hash(model: Path) -> str:
    """Return the SHA-256 over the files of a model.

    Raises:
        WeightsError: they are missing.
    """
    return hash_bytes(*(read_file(path, _MOST_BYTES) for path in model_files(model)))


def model_files(model: Path) -> tuple[Path, ...]:
    """Return the files that make a model: an exported one's, or a checkpoint.

    Raises:
        WeightsError: they are missing.
    """
    source = named_network(model)
    return exported_files(source) if is_exported(source) else (resolve_checkpoint(source),)


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every value that is no section, as JSON, with its dotted key."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, json.dumps(value, sort_keys=True, default=str)


def _content_hash(path: Path) -> str:
    return hash_bytes(read_file(path, _MOST_BYTES))[:12]


def _wanted_hash(wanted: Wanted) -> str:
    return hash_value([sorted(wanted.listed), list(wanted.texts)])[:12]
