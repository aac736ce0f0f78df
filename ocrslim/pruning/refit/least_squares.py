"""Ridge regression for the weights of one layer, by normal equations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LEAST = 1e-10  # least ridge: makes a singular matrix solvable
_TOGETHER = 1024  # samples summed at once: each sum goes through the whole matrix, for some layers 6,000 inputs square


@dataclass(frozen=True)
class Change:
    """Change of a layer's weights, float64 [blocks, inputs, outputs], and of its offset, float64 [blocks, outputs]."""

    weight: np.ndarray
    offset: np.ndarray


class NormalEquations:
    """Sums over samples for least squares, float64, for each of a layer's independent blocks.

    A layer whose outputs all read the same inputs is one block; a depthwise convolution has as many blocks as
    channels. Memory does not grow with the number of samples.
    """

    def __init__(self, blocks: int, inputs: int, outputs: int):
        self._count = 0
        self._gram = np.zeros((blocks, inputs, inputs))
        self._cross = np.zeros((blocks, inputs, outputs))
        self._inputs = np.zeros((blocks, inputs))
        self._residual = np.zeros((blocks, outputs))
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, rows: np.ndarray, residual: np.ndarray) -> None:
        """Add samples.

        Args:
            rows: the layer's inputs, [blocks, samples, inputs].
            residual: target outputs minus outputs, [blocks, samples, outputs].
        """
        self._waiting.append((rows, residual))
        if sum(waiting.shape[1] for waiting, _ in self._waiting) >= _TOGETHER:
            self._sum_up()

    def _sum_up(self) -> None:
        if not self._waiting:
            return
        rows, residual = (np.concatenate(parts, axis=1).astype(np.float64) for parts in zip(*self._waiting))
        self._waiting.clear()
        across = rows.transpose(0, 2, 1)
        self._count += rows.shape[1]
        with np.errstate(invalid="ignore"):  # `finite` tells
            self._gram += across @ rows
            self._cross += across @ residual
        self._inputs += rows.sum(axis=1)
        self._residual += residual.sum(axis=1)

    @property
    def finite(self) -> bool:
        """True if all sums are finite."""
        self._sum_up()
        return bool(np.isfinite(self._gram).all() and np.isfinite(self._cross).all())

    def solve(self, ridge: float, offset: bool, taps: int = 1) -> Change:
        """Find the change D of the weights, and c of the offset, that minimises

            |R - X D - c|^2 + ridge * trace(X'X) / inputs * |D|^2

        with X the rows and R the residual. R is the residual of the present weights, so the penalty pulls towards
        those and not towards zero (Tikhonov regularisation around a prior; Hoerl & Kennard 1970 for the ridge). With
        an offset, X and R are centred on their means first, so that the offset itself is not penalised.

        Args:
            ridge: strength of the penalty, relative to the mean square of the inputs.
            offset: True if the layer can add a constant to its outputs; otherwise c is 0.
            taps: number of consecutive outputs that share one constant, their mean.
        """
        self._sum_up()
        gram, cross = self._gram, self._cross
        mean, middle = self._inputs / self._count, self._residual / self._count
        if offset:
            gram = gram - self._count * mean[:, :, None] * mean[:, None, :]
            cross = cross - self._count * mean[:, :, None] * middle[:, None, :]
        weight = _solve(gram, cross, ridge)
        if not offset:
            return Change(weight, np.zeros_like(middle))
        constant = middle - np.einsum("bi,bio->bo", mean, weight)
        shared = constant.reshape(len(constant), -1, taps).mean(axis=2)
        return Change(weight, np.repeat(shared, taps, axis=1))


def _solve(gram: np.ndarray, cross: np.ndarray, ridge: float) -> np.ndarray:
    """Solve (gram + ridge * mean of its diagonal) D = cross for each block; D is 0 where all inputs are 0."""
    inputs = gram.shape[1]
    scale = np.trace(gram, axis1=1, axis2=2) / inputs
    scale[scale <= 0] = 1  # a block that reads only zeros
    return np.linalg.solve(gram + max(ridge, _LEAST) * scale[:, None, None] * np.eye(inputs), cross)
