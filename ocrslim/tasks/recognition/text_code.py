"""Texts on their way through PaddleOCR's encoder and decoder, which drop what the network cannot say.

PaddleOCR compares what it decodes from the network with what it decodes from the encoded label, so that characters that
the dictionary lacks, and for some decoders the case of letters, do not count. The same is done here for texts of any
length: PaddleOCR's evaluation puts another image in the place of one whose text is longer than `max_text_length`.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ocrslim.errors import ConfigError
from ocrslim.tasks.recognition.dictionary import resolved

_ROOM = 3  # begin, end and one more, which some encoders keep free
_PIXELS = np.zeros((2, 2, 3), np.uint8)  # some encoders hand the image on


def encoder_entry(transforms: Sequence[Mapping[str, Any]]) -> tuple[str, dict[str, Any]] | None:
    """Return name and arguments of the encoder of labels among transforms; None where there is none."""
    found = [(name, dict(options or {})) for entry in transforms for name, options in entry.items()]
    return next(((name, options) for name, options in found if name.endswith("LabelEncode")), None)


class TextEncoder:
    """PaddleOCR's encoder of labels.

    Args:
        entry: its name and arguments, as in the transforms.
        settings: the section `Global`.
    """

    def __init__(self, entry: tuple[str, Mapping[str, Any]], settings: Mapping[str, Any]):
        self._entry, self._settings = entry, dict(settings)
        self._longest = int(settings.get("max_text_length") or entry[1].get("max_text_length") or 25)

    def takes(self, text: str) -> bool:
        """Tell whether a text can be learnt: it is not too long and has a character of the dictionary."""
        return self._encode(text, self._longest) is not None

    def encode(self, text: str, key: str) -> np.ndarray | None:
        """Return the label `key`, int [length], of a text of any length; None where nothing of it is known.

        Raises:
            KeyError: the encoder makes no such label.
        """
        longest = max(self._longest, 1 << (len(text) + _ROOM).bit_length())
        data = self._encode(text, longest)
        return None if data is None else np.asarray(data[key])

    def _encode(self, text: str, longest: int) -> Any:
        name, options = self._entry
        settings = json.dumps(resolved({**self._settings, "max_text_length": longest}), sort_keys=True, default=str)
        encoder = _built(name, json.dumps(options, sort_keys=True, default=str), settings)
        return encoder({"label": text, "image": _PIXELS, "ext_data": []})


@functools.lru_cache(32)
def _built(name: str, options: str, settings: str) -> Any:
    """Build an encoder from JSON; a data set asks for the same few of them again and again."""
    from ocrslim.ppocr import create_operators

    return create_operators([{name: json.loads(options)}], json.loads(settings))[0]


class TextDecoder:
    """PaddleOCR's decoder.

    Args:
        section: `PostProcess`.
        settings: the section `Global`.

    Attributes:
        name: of its class.
        classes: that the dictionary makes.
    """

    def __init__(self, section: Mapping[str, Any], settings: Mapping[str, Any]):
        from ocrslim.ppocr import build_post_process

        self._decode: Any = build_post_process(copy.deepcopy(dict(section)), resolved(settings))
        self.name = type(self._decode).__name__
        if not hasattr(self._decode, "character"):
            raise ValueError(f"{self.name} decodes no texts")
        self.classes = len(self._decode.character)

    def __call__(self, output: np.ndarray) -> tuple[str, float]:
        """Return the text and its confidence (0..1) of one output of the network, float32 [1, T, classes]."""
        (text, score, *_), *_ = self._decode(self._as_given(output))
        return str(text), float(np.nan_to_num(score))

    def of_label(self, label: np.ndarray) -> str:
        """Return the text of an encoded label, int [length]."""
        nothing = self._as_given(np.zeros((1, self._steps(), self.classes), np.float32))
        _, ((text, *_), *_) = self._decode(nothing, label[None])
        return str(text)

    def _as_given(self, output: np.ndarray) -> Any:
        """Return the output in the form that the decoder takes it in."""
        if self.name == "RFLLabelDecode":  # counts of characters, and the sequence
            return [None, output]
        named = {"SRNLabelDecode": "predict", "SEEDLabelDecode": "rec_pred"}.get(self.name)
        return output if named is None else {named: output}

    def _steps(self) -> int:
        return int(getattr(self._decode, "max_text_length", 2))


class TextCode:
    """The way of a text through encoder and decoder.

    Args:
        encoder, decoder: of one configuration.
        key: of the label that the decoder takes: the first that `KeepKeys` names after the image.
    """

    def __init__(self, encoder: TextEncoder, decoder: TextDecoder, key: str):
        self._encoder, self._decoder, self._key = encoder, decoder, key

    def __call__(self, text: str) -> str:
        """Return what a network that reads without a mistake would be decoded to.

        Raises:
            ConfigError: encoder and decoder do not belong together.
        """
        try:
            label = self._encoder.encode(text, self._key)
        except KeyError:
            raise ConfigError(
                f"Eval.dataset.transforms: give no {self._key!r}, the first that KeepKeys names after the image: "
                "compare with a file in configs/rec"
            ) from None
        if label is None:
            return ""
        try:
            return self._decoder.of_label(label)
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise ConfigError(
                f"PostProcess.name: {self._decoder.name} does not decode the label {self._key!r} ({error}): name the "
                "decoder that belongs to the encoder in Eval.dataset.transforms"
            ) from None
