"""The photograph on which an export is proven."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from ocrslim.config import Config
from ocrslim.utils import scratch_folder

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def sample_image(config: Config) -> Iterator[Path]:
    """Yield the path of the image to prove an export on: `Global.infer_img`, or the task's part of scikit-image's page."""
    named = config.get("Global.infer_img")
    if named and Path(named).is_file():
        yield Path(named)
        return
    if named:
        logger.info("Global.infer_img: %s not found; the export is proven on a page from scikit-image", named)
    import skimage
    from PIL import Image

    with scratch_folder() as folder:
        copy = folder / "page.png"
        with Image.open(Path(skimage.__file__).parent / "data" / "page.png") as image:
            image.crop(config.task.sample_box).save(copy, icc_profile=None)  # libpng complains of its colour profile
        yield copy
