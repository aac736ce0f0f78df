"""What an export has made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocrslim.export.verification import Proof


@dataclass(frozen=True)
class ExportedFormat:
    """One format of an export.

    Attributes:
        format: `paddle`, `pir`, `onnx` or `lite`.
        folder: its folder.
        bytes: size of the model and its parameters.
        proof: what running it has shown.
        details: what else there is to say of it, such as the `opset` of an ONNX file.
    """

    format: str
    folder: Path
    bytes: int
    proof: Proof
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what `export.json` has of it."""
        return {"format": self.format, "bytes": self.bytes, **self.details, **self.proof.to_json()}


@dataclass(frozen=True)
class Exported:
    """A finished export.

    Attributes:
        folder: the exported folder, which clients load.
        formats: what it holds; the one that lies in `folder` itself first.
        clients: program -> the call with which it runs the export.
    """

    folder: Path
    formats: tuple[ExportedFormat, ...]
    clients: Mapping[str, str]

    @property
    def format(self) -> str:
        """The first format."""
        return self.formats[0].format

    @property
    def differences(self) -> Mapping[str, float]:
        """Kernels that ran the first format -> largest difference of the output to the source's (see `Proof`)."""
        return self.formats[0].proof.differences

    @property
    def bytes(self) -> int:
        """Size of the first format's model and its parameters."""
        return self.formats[0].bytes

    @property
    def unverified(self) -> dict[str, str]:
        """Formats that could not be proven -> why."""
        return {each.format: each.proof.unverified for each in self.formats if each.proof.unverified is not None}
