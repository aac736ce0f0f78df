"""What recognition takes from a configuration: its dictionary, the encoders of labels, and the decoder."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ocrslim.errors import ConfigError
from ocrslim.tasks.recognition.dictionary import characters_of
from ocrslim.tasks.recognition.text_code import TextCode, TextDecoder, TextEncoder, encoder_entry


@dataclass(frozen=True)
class Setting:
    """The parts of a configuration by which texts become classes and classes texts.

    The dictionary is read when it is first asked for; it does not go to other processes by pickle.

    Attributes:
        settings: the section `Global`.
        post_process: the section.
        encoders: the encoder of labels by mode, name and arguments.
        key: of the label that the decoder takes.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    post_process: Mapping[str, Any] = field(default_factory=dict)
    encoders: Mapping[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    key: str = "label"

    @property
    def decoder(self) -> str:
        """The name of the post-processing."""
        return str(self.post_process.get("name", ""))

    @functools.cached_property
    def known(self) -> frozenset[str]:
        """The characters that a label may have."""
        known = characters_of(self.settings, self.decoder)
        lowered = [letter.upper() for letter in known] if self.settings.get("character_dict_path") is None else []
        return frozenset(known).union(lowered)

    @functools.cached_property
    def code(self) -> TextCode:
        """Texts to classes and back, as in an evaluation.

        Raises:
            ConfigError: the evaluation's transforms have no encoder.
        """
        encoder = self.encoder("Eval")
        if encoder is None:
            raise ConfigError("Eval.dataset.transforms: the encoder of labels is missing; compare with configs/rec")
        return TextCode(encoder, TextDecoder(self.post_process, self.settings), self.key)

    def encoder(self, mode: str) -> TextEncoder | None:
        """Return the encoder of "Train" or "Eval", None where its transforms have none."""
        entry = self.encoders.get(mode)
        return None if entry is None else TextEncoder(entry, self.settings)

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}


def setting_of(tree: Mapping[str, Any]) -> Setting:
    """Return what recognition takes from a configuration, whose parts may be missing."""
    datasets = {mode: (tree.get(mode) or {}).get("dataset") or {} for mode in ("Train", "Eval")}
    transforms = {mode: dataset.get("transforms") or [] for mode, dataset in datasets.items()}
    encoders = {mode: entry for mode, listed in transforms.items() if (entry := encoder_entry(listed)) is not None}
    kept = [options for entry in transforms["Eval"] for name, options in entry.items() if name == "KeepKeys"]
    keys = (kept[-1] or {}).get("keep_keys") if kept else None
    key = keys[1] if keys and len(keys) > 1 else "label"
    return Setting(tree.get("Global") or {}, tree.get("PostProcess") or {}, encoders, key)
