"""Networks of PaddleOCR's own classes; imported late, as it needs a copy of PaddleOCR with its training side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import paddle

from ocrslim.errors import GraphError, OcrSlimError
from ocrslim.ppocr import base_model, building, network_arguments
from ocrslim.tasks import Task
from ocrslim.utils import cause_of

if TYPE_CHECKING:
    from paddle import Tensor
    from paddle.nn import Layer as _BaseModel
else:
    _BaseModel = base_model()


class PaddleNetwork(_BaseModel):
    """A network that PaddleOCR's `BaseModel` builds, with its state-dict keys (`backbone.*`, `neck.*`, `head.*`).

    Attributes:
        task: what it is for.
    """

    def __init__(self, task: Task, arguments: dict[str, Any]):
        super().__init__(arguments)
        self.task = task
        self._evaluated: tuple[str, ...] = getattr(task, "evaluated", ())

    def __call__(self, x: Tensor, *labels: Any, **named: Any) -> Any:
        """Run `forward`.

        Raises:
            GraphError: PaddleOCR's code fails on such an input, such as one of another size than it fixes.
        """
        try:
            return super().__call__(x, *labels, **named)
        except (MemoryError, OcrSlimError):
            raise
        except Exception as error:  # whatever its code raises
            if not paddle.in_dynamic_mode():  # a trace tells its own causes
                raise
            raise GraphError(
                f"Architecture: the network cannot be run on an input of shape {list(x.shape)} "
                f"({type(error).__name__}: {cause_of(error)}): give it the size that it is made for, in the "
                "transforms of the configuration"
            ) from error

    def forward(self, x: Tensor, data: Any = None) -> Any:
        """Images [N, C, H, W] and, where the head needs them to train, labels -> what the head returns.

        In evaluation without what the task does not read, so that an exported network has no other outputs.
        """
        result = super().forward(x, data)
        if self.training or not self._evaluated:
            return result
        return {name: result[name] for name in self._evaluated}

    @property
    def training_only(self) -> tuple[str, ...]:
        """State-dict prefixes of the layers that run in training only: an exported model does not contain them."""
        return self.task.training_only


def build_paddle_network(architecture: Mapping[str, Any], task: Task) -> PaddleNetwork:
    """Build the network of an `Architecture` section by PaddleOCR's classes, with fresh weights, in training mode.

    Raises:
        ConfigError: this PaddleOCR lacks a class or an argument, or refuses a value.
    """
    arguments = network_arguments(architecture)
    with building("Architecture"):
        return PaddleNetwork(task, arguments)
