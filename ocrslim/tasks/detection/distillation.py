"""Distillation of a detector: beside features, the teacher's shrink map.

PP-OCRv2 distils detectors by their maps (Du et al., arXiv 2109.03144, section 2.1); of these only the shrink map is
taken here, the one that inference reads. The threshold branch is not: weights imported from an inference model have
none, and what a new one says would be noise.
"""

from __future__ import annotations

from collections.abc import Mapping

import paddle.nn.functional as F
from paddle import Tensor

from ocrslim.graph import Program, Value, tail_readers
from ocrslim.tasks.values import Distilled

_EPS = 1e-6


def map_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Dice loss plus Kullback-Leibler divergence of two maps of probabilities, [N, H, W]; 0 where they are equal.

    The Dice loss has squares in its denominator (Milletari et al., "V-Net", 2016, equation 3), so that it is smallest
    where the student agrees with a soft label; it looks at text, however little of it there is. The divergence, a mean
    over all pixels, keeps the background quiet. No mask: the teacher has an opinion on ignored text as well.
    """
    overlap = (student * teacher).sum()
    dice = 1 - (2 * overlap + _EPS) / (student.square().sum() + teacher.square().sum() + _EPS)
    entropy = F.binary_cross_entropy(teacher, teacher)
    return dice + F.binary_cross_entropy(student, teacher) - entropy


def distilled(alpha: float) -> Distilled:
    """Return the parts of the distillation of a network of PaddleOCR's form: what its neck makes, and its map.

    Args:
        alpha: weight of the shrink map's loss by labels.
    """
    return Distilled("neck", ("head.binarize.conv1.weight", 1), _loss, alpha)


def distilled_of_program(program: Program, output: Value, alpha: float) -> Distilled:
    """Return the parts of the distillation of an exported network, of which `output` is the map.

    The neck's output is where the levels of its pyramid come together: what the first layer of the head reads, beyond
    which there is but one way to the map. Of a network without such a layer, the map alone is compared.
    """
    readers = tail_readers(program, output)
    return Distilled("", readers[-1] if readers else None, _loss, alpha)


def _loss(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
    return map_loss(student["maps"][:, 0], teacher["maps"][:, 0])
