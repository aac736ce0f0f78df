"""Modules of PaddleOCR that look classes up by name, in a checkout whose unused imports were tidied away."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from checkout import checkout  # noqa: F401

from ocrslim.ppocr import base_model, build_loss, find_source, use_source

LOOKING_UP = "def looked_up(name):\n    return eval(name)\n"
TIDIED = {
    "modeling/architectures/base_model.py": "class BaseModel: pass\n",
    "modeling/heads/rec_multi_head.py": LOOKING_UP,
    "modeling/heads/rec_ctc_head.py": "class CTCHead: pass\n",
    "losses/__init__.py": "from .rec_multi_loss import MultiLoss\nbuild_loss = lambda section: MultiLoss(**section)\n",
    "losses/rec_multi_loss.py": f"{LOOKING_UP}class MultiLoss:\n    def __init__(self, name): pass\n",
    "losses/rec_ctc_loss.py": "class CTCLoss: pass\n",
}


@pytest.fixture
def tidied(checkout) -> Path:  # noqa: F811
    for name, text in TIDIED.items():
        (checkout / "ppocr" / name).write_text(text)
    use_source(find_source(str(checkout)))
    return checkout


def looked_up(module: str, name: str) -> type:
    return importlib.import_module(f"ppocr.{module}").looked_up(name)


def test_the_heads_of_a_multi_head_are_found(tidied):
    base_model()
    assert looked_up("modeling.heads.rec_multi_head", "CTCHead").__module__ == "ppocr.modeling.heads.rec_ctc_head"
    with pytest.raises(NameError, match="SARHead"):  # this copy has no such class
        looked_up("modeling.heads.rec_multi_head", "SARHead")


def test_the_losses_of_a_sum_are_found(tidied):
    build_loss({"name": "MultiLoss"})
    assert looked_up("losses.rec_multi_loss", "CTCLoss").__module__ == "ppocr.losses.rec_ctc_loss"


def test_a_class_that_is_there_stays(tidied):
    module = tidied / "ppocr/modeling/heads/rec_multi_head.py"
    module.write_text(f"class CTCHead: pass\n{LOOKING_UP}")
    base_model()
    assert looked_up("modeling.heads.rec_multi_head", "CTCHead").__module__ == "ppocr.modeling.heads.rec_multi_head"
