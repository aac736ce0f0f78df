"""A few pages that were held out, with what both pairs read on them, for the report."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ocrslim.compression import FOLDER, choose_samples, save_sample, scaled
from ocrslim.config import Config
from ocrslim.data import Preprocessor
from ocrslim.pages.measuring import PageRow
from ocrslim.tasks import Counts
from ocrslim.utils import check_writable


def write_pages(
    rows: Mapping[str, Sequence[PageRow]], counts: Sequence[Counts], config: Config, images: Path, out: Path
) -> list[dict[str, Any]]:
    """Write pages, small, into `out/samples`; return the lines that both pairs read, in pixels of these images.

    Args:
        rows: of the pairs `before` and `after`, of the same pages.
        counts: of each page: lines of one, of the other, and in common.
        config: of the detector, which says how images are decoded.
        images: folder of the pages.
    """
    folder = out / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    check_writable(folder)
    by_page = {name: {row.page: row.lines for row in found} for name, found in rows.items()}
    chosen = choose_samples([row.page for row in rows["after"]], counts)
    load, samples = Preprocessor(config), []
    for number, page in enumerate(chosen, 1):
        file = folder / f"{number}.jpg"
        size, scale = save_sample(file, load.pixels(images / page))
        lines = {name: [scaled(line.to_json(), scale) for line in found[page]] for name, found in by_page.items()}
        samples.append({"image": f"{FOLDER}/{file.name}", "name": page, "size": size, **lines})
    return samples
