"""Detectors' counts image by image, made up: a baseline and the pruned versions of layers of known kinds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ocrslim.tasks.detection.metric import ImageCounts

RATIOS = tuple(round(0.1 * step, 1) for step in range(1, 10))
KINDS = {  # ratio at which the damage is of the order of the labels' spread
    "flat": (1.5, 6.0),
    "late": (0.6, 1.1),
    "middle": (0.25, 0.6),
    "early": (0.08, 0.25),
    "bump": (0.4, 0.9),  # and one ratio is worse than its neighbours
}


class Detector(NamedTuple):
    """Counts of the unpruned network, and by layer and ratio those of the pruned ones; [N] images each."""

    baseline: list[ImageCounts]
    layers: dict[str, dict[float, list[ImageCounts]]]


class _Scene:
    """Labels and false alarms of N images, each with a strength; what exceeds a threshold is detected."""

    def __init__(self, rng, images, boxes, recall, precision):
        labels = rng.integers(boxes[0], boxes[1] + 1, images)
        alarms = rng.poisson(2 * recall * labels.mean() * (1 / precision - 1), images)
        self._labels = np.repeat(np.arange(images), labels)
        self._alarms = np.repeat(np.arange(images), alarms)
        self._strength = rng.normal(size=labels.sum()) + rng.normal(0, 0.5, images)[self._labels]
        self._threshold = np.quantile(self._strength, 1 - recall)
        self._alarm = rng.normal(size=alarms.sum())
        self._rng, self._images = rng, images

    def noise(self):
        """Standard normal numbers: per label, per false alarm."""
        return self._rng.normal(size=len(self._labels)), self._rng.normal(size=len(self._alarms))

    def counts(self, damage=0.0, label_noise=0.0, alarm_noise=0.0, alarm_damage=0.0, image_noise=0.0):
        by_image = self._rng.normal(0, image_noise, self._images)[self._labels]
        found = self._strength + label_noise + by_image > self._threshold + damage
        false = self._alarm + alarm_noise > alarm_damage
        gt, matched, extra = (
            np.bincount(where, minlength=self._images)
            for where in (self._labels, self._labels[found], self._alarms[false])
        )
        return [ImageCounts(*map(int, row)) for row in zip(gt, matched + extra, matched)]


def detector(images, boxes, recall, precision, layers=24, seed=0):
    """A detector with `boxes` (least, most) labels an image and about this recall and precision."""
    rng = np.random.default_rng(seed)
    scene = _Scene(rng, images, boxes, recall, precision)
    baseline = scene.counts()
    kinds = rng.choice(list(KINDS), size=layers, p=[0.3, 0.2, 0.25, 0.15, 0.1])
    return Detector(baseline, {f"{kind}{i}": _layer(rng, scene, kind) for i, kind in enumerate(kinds)})


def _layer(rng, scene, kind):
    scale, power, size = rng.uniform(*KINDS[kind]), rng.uniform(1.5, 4.5), rng.uniform(1, 3)
    jitter, alarms_too = rng.uniform(0.02, 0.12), rng.normal(0, 0.3)
    bump = rng.choice(RATIOS[1:-1]) if kind == "bump" else None
    label_noise, alarm_noise = (0 * part for part in scene.noise())
    counts = {}
    for ratio in RATIOS:
        damage = size * (ratio / scale) ** power
        spread = min(damage, 2.0)
        # what one ratio does to a box, the next one largely does too
        label_noise, alarm_noise = (
            0.7 * old + (jitter + 0.4 * spread) * new for old, new in zip((label_noise, alarm_noise), scene.noise())
        )
        extra = rng.uniform(0.05, 0.3) if ratio == bump else 0.0
        counts[ratio] = scene.counts(damage + extra, label_noise, alarm_noise, alarms_too * damage, 0.3 * spread)
    return counts


def curve(baseline, losses, rng):
    """Counts by ratio with just about these losses of hmean: matches go where the baseline has some."""
    table = np.array(baseline)
    result = {}
    for ratio, loss in losses.items():
        pruned = table.copy()
        owners = rng.permutation(np.repeat(np.arange(len(table)), table[:, 2]))
        # a lost match whose detection stays costs 2 of the P + G boxes
        lost = round(loss * table[:, 2].sum())
        np.subtract.at(pruned[:, 2], owners[:lost], 1)
        result[ratio] = [ImageCounts(*map(int, row)) for row in pruned]
    return result
