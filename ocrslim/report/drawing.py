"""Images of several folders side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from ocrslim.utils import atomic_file


def contact_sheet(folders: Sequence[Path], path: Path, titles: Sequence[str], most: int = 4) -> None:
    """The first images of several folders, a row a folder, as one picture at `path`."""
    names = sorted({p.name for p in folders[0].glob("*.png")} & {p.name for p in folders[-1].glob("*.png")})[:most]
    figure, axes = plt.subplots(len(folders), len(names), squeeze=False, figsize=(3.2 * len(names), 3.4 * len(folders)))
    for row, folder, title in zip(axes, folders, titles):
        for axis, name in zip(row, names):
            axis.imshow(plt.imread(folder / name))
            axis.set_axis_off()
        row[0].set_title(title, loc="left")
    figure.tight_layout()
    with atomic_file(path) as stream:
        figure.savefig(stream, format="png", dpi=100)
    plt.close(figure)
