"""A folder that looks like a checkout of PaddleOCR with a few classes, to be read and not run; and the real package."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocrslim.ppocr import use_source

FILES = {
    "modeling/architectures/__init__.py": "",
    "modeling/backbones/__init__.py": """
def build_backbone(config, model_type):
    if model_type == "det" or model_type == "table":
        from .det_nets import Wide, Wide as Broad
        support_dict = ["Wide", "Broad"]
    elif model_type == "rec":
        from .rec_nets import Wide, make_tall
    else:
        raise NotImplementedError
""",
    "modeling/backbones/det_nets.py": """
class _Base:
    def __init__(self, in_channels, layers, scale=1.0, *, dilated=False): pass
class Wide(_Base): pass
""",
    "modeling/backbones/rec_nets.py": """
class Wide:
    def __init__(self, in_channels=3, height=32, **kwargs): pass
def make_tall(pretrained=True, size=1): pass
""",
    "modeling/necks/__init__.py": "def build_neck(config):\n    from .nets import Pyramid\n",
    "modeling/necks/nets.py": "class Pyramid:\n    def __init__(self, in_channels, out_channels, **kwargs): pass\n",
    "modeling/heads/__init__.py": "def build_head(config):\n    from .nets import DBHead, BoxHead\n",
    "modeling/heads/nets.py": """
class DBHead:
    def __init__(self, in_channels, k=50, **kwargs): pass
class BoxHead: pass
""",
    "modeling/transforms/__init__.py": "def build_transform(config):\n    from .nets import Bend\n",
    "modeling/transforms/nets.py": "class Bend:\n    def __init__(self, in_channels, **kwargs): pass\n",
    "losses/__init__.py": "from .nets import DBLoss, BoxLoss\n",
    "losses/nets.py": """
class DBLoss:
    def __init__(self, **kwargs): pass
class BoxLoss:
    def __init__(self, eps=1e-6): pass
""",
    "postprocess/__init__.py": "from .nets import DBPostProcess, BoxPostProcess\n",
    "postprocess/nets.py": "class DBPostProcess: pass\nclass BoxPostProcess: pass\n",
    "metrics/__init__.py": "from .nets import DetMetric\n",
    "metrics/nets.py": "class DetMetric: pass\n",
    "data/imaug/__init__.py": "from .operators import *\nfrom .labels import BoxLabelEncode\n",
    "data/imaug/operators.py": "class DecodeImage: pass\nclass KeepKeys: pass\nclass Shear: pass\n",
}


def write_checkout(folder: Path) -> Path:
    for name, text in FILES.items():
        path = folder / "ppocr" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Iterator[Path]:
    """The folder of such a checkout, in a process that has imported no `ppocr` as far as anyone can see."""
    for name in _imported_parts():
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [part for part in sys.path if not (Path(part) / "ppocr/__init__.py").is_file()])
    yield write_checkout(tmp_path / "PaddleOCR")
    use_source(None)
    for name in _imported_parts():  # what the test imported; monkeypatch puts back what was there before it
        del sys.modules[name]


def _imported_parts() -> list[str]:
    return [name for name in sys.modules if name == "ppocr" or name.startswith("ppocr.")]


def require_zoo() -> Path:
    """Return the folder of the package with PaddleOCR's networks; skip unless it is installed."""
    found = importlib.util.find_spec("unstructured_paddleocr")
    if found is None:
        pytest.skip("package not installed: unstructured-paddleocr (requirements-models.txt)")
    # once a test in this process has used the package, its module of the same name is found, which is no package
    return Path(str(found.origin)).parent
