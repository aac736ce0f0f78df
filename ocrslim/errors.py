"""The exceptions a user can cause.

Each message names the file or key, the value found, what was expected, and what to do next; the
command line prints it without a traceback and exits with `EXIT_CODE`.
"""

from __future__ import annotations

from collections.abc import Sequence

EXIT_CODE = 2
NOT_WORTH_IT = 3  # of a command that did its work, which brings too little to be used
UNVERIFIED = 4  # of a command that did its work, where something that it wrote could not be proven


class OcrSlimError(Exception):
    """Base of everything that the person at the keyboard can put right."""


class ConfigError(OcrSlimError):
    """The configuration is wrong; `problems` holds every fault found, one line each."""

    def __init__(self, problems: str | Sequence[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class WeightsError(OcrSlimError):
    """A weights file is missing, unreadable, or not of this architecture."""


class RuntimeStartError(WeightsError):
    """A runtime is not installed or starts no network at all: no file is at fault."""


class DataError(OcrSlimError):
    """A label file or an image is missing or broken."""


class ArtifactError(OcrSlimError):
    """A file of ours cannot be written, or cannot be read back."""


class GraphError(OcrSlimError):
    """A network cannot be traced with the inputs given."""


class PlanError(OcrSlimError):
    """A pruning plan does not fit the network it is applied to."""


class TrainingError(OcrSlimError):
    """Training cannot start, continue or be trusted."""


class ExportError(OcrSlimError):
    """An exported model does not compute what its source computes."""


class LoweringError(OcrSlimError):
    """A network holds something that the fast runtime has no step for."""
