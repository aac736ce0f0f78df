"""Checkpoints with fewer characters: their networks load by their configuration, and say what the whole one said.

A recogniser's second head, which only trains, keeps what it learnt as well: for labels of the kept characters its
scores are those of the whole network, class by class, as PaddleOCR's own encoders number the classes of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import yaml
from bare_models import onnx_file
from checkout import require_zoo
from lines import DIGITS, own_networks, recogniser, write_lines, write_tree  # noqa: F401  (a fixture)
from onnx_models import photograph
from oracle import randomise

from ocrslim.config import Config, load_config
from ocrslim.errors import ConfigError, GraphError
from ocrslim.inference import DygraphEngine
from ocrslim.models import build_model, save_checkpoint
from ocrslim.ppocr import create_operators
from ocrslim.pruning import Cut, Plan, apply_plan, load_network
from ocrslim.tasks import Wanted
from ocrslim.vocabulary import CutCharacters, cut_characters
from ocrslim.vocabulary.proof import probability_difference

REPO = Path(__file__).resolve().parents[2]
CHARACTERS = "abcdefghijé中"
TEXT = "cab中ac"
SECOND = {  # small ones of PaddleOCR's heads
    "NRTRHead": ("PP-OCRv4", {"nrtr_dim": 64, "num_decoder_layers": 1, "max_text_length": 25}),
    "SARHead": ("PP-OCRv3", {"enc_dim": 32, "max_text_length": 25}),
}


def trained(folder: Path, tree: dict[str, Any]) -> Config:
    """A network with weights as after a training; returns its configuration."""
    path, weights = folder / "rec.yml", folder / "best_accuracy"
    config = load_config(write_tree(path, tree))
    paddle.seed(1)
    model = randomise(build_model(config.section("Architecture")))
    save_checkpoint(model, weights)
    return load_config(path, [f"Global.pretrained_model={weights}"])


def digits(folder: Path) -> dict[str, Any]:
    label = write_lines(folder / "lines", ["12", "203"])
    return recogniser(folder, label, label)


def multi_head(folder: Path, second: str) -> dict[str, Any]:
    """The configuration of PP-OCR, with small layers and a small dictionary."""
    version, options = SECOND[second]
    tree = yaml.safe_load((REPO / f"configs/rec/{version}/{version}_mobile_rec.yml").read_text("utf-8"))
    dictionary = folder / "characters.txt"
    dictionary.write_text("".join(f"{one}\n" for one in CHARACTERS), "utf-8")
    tree["Global"] |= {"character_dict_path": str(dictionary), "use_gpu": False}
    head = tree["Architecture"]["Head"]["head_list"]
    head[1] = {second: options}
    return tree


def cut(config: Config, folder: Path, characters: str) -> tuple[CutCharacters, Config]:
    found = cut_characters(config, Wanted(texts=[characters]), folder)
    return found, load_config(folder / "config.yml")


def test_probabilities_are_those_of_the_whole_network_over_the_kept_classes(tmp_path):
    config = trained(tmp_path, digits(tmp_path))
    found, small = cut(config, tmp_path / "out", "357")
    assert found.classes == (11, 4) and found.model.name == "best_accuracy.pdparams"
    assert (found.folder / "dict.txt").read_text() == "3\n5\n7\n"
    assert small.get("Global.use_space_char") is False and small.get("Global.checkpoints") is None
    networks = [load_network(one).model for one in (config, small)]
    full, less = (DygraphEngine(network)(photograph(1, 3, 32, 96)) for network in networks)
    assert probability_difference(full, less, np.array([0, 4, 6, 8])) < 1e-6
    assert probability_difference(full, less, np.array([0, 4, 6, 9])) > 1e-4, "a control: another class"


@pytest.mark.parametrize("name, small", [("arabic_dict.txt", "arabic_dict.txt"), ("digits.txt", "dict.txt")])
def test_a_dictionary_by_whose_name_paddleocr_turns_the_text_keeps_it(name, small, tmp_path):
    tree = digits(tmp_path)
    tree["Global"]["character_dict_path"] = str((tmp_path / "digits.txt").rename(tmp_path / name))
    _, config = cut(trained(tmp_path, tree), tmp_path / "out", "357")
    assert Path(config.get("Global.character_dict_path")) == tmp_path / "out" / small
    assert (tmp_path / "out" / small).read_text() == "3\n5\n7\n"


def test_a_pruned_checkpoint_stays_pruned(tmp_path):
    config = trained(tmp_path, digits(tmp_path))
    network = load_network(config).model
    keep = tuple(range(0, 32, 2))
    cuts = [
        Cut("neck.conv.weight", 0, 32, keep),
        Cut("neck.conv.bias", 0, 32, keep),
        Cut("head.fc.weight", 0, 32, keep),
    ]
    plan = Plan(config.section("Architecture"), tuple(cuts), {"neck.conv.weight": 0.5})
    apply_plan(network, plan)
    save_checkpoint(network, tmp_path / "best_accuracy")
    plan.save(tmp_path / "best_accuracy.plan.json")
    _, small = cut(config, tmp_path / "out", "357")
    loaded = load_network(small)
    assert loaded.plan.cuts == plan.cuts
    assert loaded.model.state_dict()["head.fc.weight"].shape == [16, 4]
    full, less = (DygraphEngine(one)(photograph(1, 3, 32, 96)) for one in (network, loaded.model))
    assert probability_difference(full, less, np.array([0, 4, 6, 8])) < 1e-6


def second_scores(config: Config, model: paddle.nn.Layer, data: Mapping[str, Any]) -> np.ndarray:
    """The scores that the head which only trains gives to the classes of each place of the label."""
    model.eval()
    head = model.head
    second = head.sar_head if head.gtc_head == "sar" else head.gtc_head
    head.training = second.training = True  # and not what is in them, so that nothing is dropped
    label = data.get("label_gtc", data.get("label_sar"))
    batch = [data["label_ctc"], label, data["length"], np.float32(1)]
    image = paddle.to_tensor(photograph(1, 3, 48, 320))
    with paddle.no_grad():
        found = head(model.backbone(image), [paddle.to_tensor(np.asarray(one)[None]) for one in batch])
    return found["sar" if head.gtc_head == "sar" else "gtc"].numpy()


@pytest.mark.parametrize("second", SECOND)
def test_the_head_that_only_trains_keeps_what_it_learnt(second, tmp_path):
    require_zoo()
    config = trained(tmp_path, multi_head(tmp_path, second))
    found, small = cut(config, tmp_path / "out", "abc中")
    assert found.classes == (14, 6)
    encode = {"MultiLabelEncode": {"gtc_encode": "NRTRLabelEncode"} if second == "NRTRHead" else None}
    scores, names = [], []
    for one in (config, small):
        encoder = create_operators([encode], one.section("Global"))[0]
        data = encoder({"label": TEXT, "image": None})
        scores.append(second_scores(one, load_network(one).model, data))
        names.append(list(encoder.gtc_encode.character))
    full, less = scores
    beyond = full.shape[-1] - len(names[0])  # SAR never tells padding, NRTR has a class too many
    classes = [names[0].index(name) for name in names[1]][: less.shape[-1]]
    classes += [full.shape[-1] - 1] if beyond > 0 else []
    assert less.shape[-1] == len(classes) < full.shape[-1]
    np.testing.assert_allclose(less, full[..., classes], rtol=1e-4, atol=1e-4)
    control = np.roll(classes, 1)
    assert np.abs(less - full[..., control]).max() > 0.01, "other classes"


def test_classes_of_another_layer_are_refused(tmp_path, monkeypatch):
    import lines

    class Convolved(lines.LineHead):
        def __init__(self, in_channels: int, out_channels: int):
            super().__init__(in_channels, out_channels)
            self.fc = paddle.nn.Conv1D(in_channels, out_channels, 1, data_format="NLC")

    monkeypatch.setitem(lines.REGISTERED_PARTS["Head"], "LineHead", Convolved)
    config = trained(tmp_path, digits(tmp_path))
    with pytest.raises(GraphError, match="head.fc.weight: its 11 entries along axis 0 depend on the 10 characters"):
        cut(config, tmp_path / "out", DIGITS[:3])
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_an_exported_network_is_to_be_exported_first(tmp_path):
    config = trained(tmp_path, digits(tmp_path))
    config = config.changed({"Architecture.program": str(onnx_file(tmp_path / "rec.onnx"))})
    with pytest.raises(
        ConfigError, match=r"checkpoint of the exported network .*rec.onnx: export it \(ocrslim export\)"
    ):
        cut_characters(config, Wanted(texts=["1"]), tmp_path / "out")
