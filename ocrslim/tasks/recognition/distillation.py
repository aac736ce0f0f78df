"""Distillation of a recogniser: its probabilities of characters, step by step, and what its last layer reads.

Kim and Rush, "Sequence-Level Knowledge Distillation" (arXiv 1606.07947, section 3.1), compare sequences word by word;
the steps of CTC take the place of the words. Student and teacher see the same images, so that their steps agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import paddle.nn.functional as F
from paddle import Tensor, nn

from ocrslim.graph import Program, Value, tail_readers
from ocrslim.tasks.recognition.loss import logits_of
from ocrslim.tasks.values import Distilled

# The layer that reads the features for CTC, in PaddleOCR's networks: of MultiHead, then of CTCHead.
_READERS = ("head.ctc_head.fc1", "head.ctc_head.fc", "head.fc1", "head.fc")


def sequence_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """Compute the divergence of Kullback and Leibler, summed over the steps as CTC's loss is; the mean over texts.

    Args:
        logits: of the student, [N, T, classes].
        teacher: its probabilities, of the same shape.
    """
    divergence = F.kl_div(F.log_softmax(logits, axis=-1), teacher, reduction="none")
    return divergence.sum(axis=[1, 2]).mean()


def distilled(model: nn.Layer) -> Distilled | None:
    """Return the parts of the distillation; None for a network without a layer that reads features for CTC."""
    layers = dict(model.named_sublayers())
    reader = next((name for name in _READERS if isinstance(layers.get(name), nn.Linear)), None)
    return None if reader is None else Distilled("", (f"{reader}.weight", 0), _loss)


def distilled_of_program(program: Program, output: Value) -> Distilled:
    """Return the parts of the distillation of an exported network, of which `output` has the probabilities.

    The features are what its last layer reads; where none is found, the probabilities alone are compared.
    """
    readers = tail_readers(program, output)
    return Distilled("", readers[0] if readers else None, _loss)


def _loss(student: Mapping[str, Any], teacher: Mapping[str, Any]) -> Tensor:
    return sequence_loss(logits_of(student), logits_of(teacher))
