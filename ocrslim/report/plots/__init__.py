"""The picture of a sensitivity analysis: a heat map of layers by ratios, and every layer's curve by itself.

Both show the layers in the same order, those that can lose most first, numbered alike. Colours and axes
change at the tolerance: linear and blue up to it, logarithmic and orange above it, each shade darker than
the one before, so that a grey print reads the same. How well a loss is known shows in its shape: a full tile
or dot was measured on all images, a small tile or a circle on some, a thin line was inferred.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from ocrslim.report.plots.heat_map import heat_map
from ocrslim.report.plots.loss_curves import small_multiples
from ocrslim.report.plots.sensitivity_data import SensitivityPicture, SensitivityPoint
from ocrslim.utils import atomic_file

__all__ = ["DPI", "SensitivityPicture", "SensitivityPoint", "draw_sensitivities", "sensitivity_figures"]

DPI = 110  # dots per inch of the PNGs


def draw_sensitivities(picture: SensitivityPicture, path: Path) -> tuple[Path, Path]:
    """Write the heat map as `path` and the curves beside it as `<stem>_curves.png`, each whole or not at all.

    Safe in any thread and needs no display.

    Returns:
        The two paths.

    Raises:
        ArtifactError: a file cannot be written; what was there before is intact.
    """
    files = path, path.with_name(f"{path.stem}_curves.png")
    for figure, file in zip(sensitivity_figures(picture), files):
        with atomic_file(file) as stream:
            figure.savefig(stream, format="png", dpi=DPI)
    return files


def sensitivity_figures(picture: SensitivityPicture) -> tuple[Figure, Figure]:
    """Return the heat map and the curves."""
    return heat_map(picture), small_multiples(picture)
