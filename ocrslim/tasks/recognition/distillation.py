"""Distillation of a recogniser: its probabilities of characters, or what it reads, and what its last layer reads.

Kim and Rush, "Sequence-Level Knowledge Distillation" (arXiv 1606.07947): section 3.1 compares sequences word by word,
where the steps of CTC take the place of the words; section 3.2 has the student learn the sequence that the teacher
finds. The first suits a network that trains as it once trained. An exported one, its batch norms folded, moves the
spikes of CTC by a step here and there, at once and without any harm to what it reads; the divergence step by step
drives it on from there until it reads less. So it learns the sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ocrslim.graph import Program, Value, tail_readers
from ocrslim.tasks.recognition.loss import CTCLoss, logits_of
from ocrslim.tasks.values import Distilled

# The layer that reads the features for CTC, in PaddleOCR's networks: of MultiHead, then of CTCHead.
_READERS = ("head.ctc_head.fc1", "head.ctc_head.fc", "head.fc1", "head.fc")
_BLANK = 0
_OF_READINGS = 0.2  # beside the features, which lead


def sequence_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """Compute the divergence of Kullback and Leibler, summed over the steps as CTC's loss is; the mean over texts.

    Args:
        logits: of the student, [N, T, classes].
        teacher: its probabilities, of the same shape.
    """
    divergence = F.kl_div(F.log_softmax(logits, axis=-1), teacher, reduction="none")
    return divergence.sum(axis=[1, 2]).mean()


def reading_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """Compute CTC's loss for what the teacher reads, as log(1 + loss) of each text; the mean over texts.

    The logarithm keeps texts that neither of them can read from counting more than all others. A text without
    characters counts as 0.

    Args:
        logits: of the student, [N, T, classes]; class 0 is the blank.
        teacher: its probabilities, of the same shape.
    """
    labels, lengths = _read(teacher.argmax(axis=-1).numpy())
    some = np.flatnonzero(lengths)  # of a text without characters Paddle's loss reads memory that is not its own
    if not len(some):
        return logits.sum() * 0.0
    chosen = paddle.index_select(logits, paddle.to_tensor(some))
    found = CTCLoss().of_each(chosen, paddle.to_tensor(labels[some]), paddle.to_tensor(lengths[some]))
    return paddle.log1p(found).sum() / len(lengths)


def _read(classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the texts of the likeliest classes [N, T], int32 [N, longest], and their lengths, int64 [N]."""
    before = np.pad(classes, ((0, 0), (1, 0)), constant_values=_BLANK)[:, :-1]
    kept = (classes != _BLANK) & (classes != before)
    lengths = kept.sum(axis=1)
    labels = np.full((len(classes), int(lengths.max(initial=0))), _BLANK, np.int32)
    for text, (row, chosen) in enumerate(zip(classes, kept)):
        labels[text, : lengths[text]] = row[chosen]
    return labels, lengths.astype(np.int64)


def distilled(model: nn.Layer) -> Distilled | None:
    """Return the parts of the distillation; None for a network without a layer that reads features for CTC."""
    layers = dict(model.named_sublayers())
    reader = next((name for name in _READERS if isinstance(layers.get(name), nn.Linear)), None)
    return None if reader is None else Distilled("", (f"{reader}.weight", 0), _loss)


def distilled_of_program(program: Program, output: Value) -> Distilled:
    """Return the parts of the distillation of an exported network, of which `output` has the probabilities.

    The features are what its last layer reads; where none is found, what it reads alone is compared.
    """
    readers = tail_readers(program, output)
    return Distilled("", readers[0] if readers else None, _loss_of_reading, _OF_READINGS)


def _loss(student: Mapping[str, Any], teacher: Mapping[str, Any]) -> Tensor:
    return sequence_loss(logits_of(student), logits_of(teacher))


def _loss_of_reading(student: Mapping[str, Any], teacher: Mapping[str, Any]) -> Tensor:
    return reading_loss(logits_of(student), logits_of(teacher))
