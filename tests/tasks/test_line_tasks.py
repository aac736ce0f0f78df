"""A recogniser and a classifier go through all stages, by nothing but their configurations."""

from __future__ import annotations

import json
import pickle

import cv2
import numpy as np
import pytest
from lines import classifier, numbers, recogniser, register_networks, write_lines, write_page, write_tree, write_turned

from ocrslim import commands
from ocrslim.config import load_config
from ocrslim.evaluation import open_engine, predict_images

TRAINED = ["Global.epoch_num=10", "Optimizer.lr.learning_rate=0.01", "Train.loader.batch_size_per_card=8"]


@pytest.fixture(scope="module", autouse=True)
def networks():
    patch = pytest.MonkeyPatch()
    register_networks(patch)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """The configuration of a recogniser, and what it trained to."""
    folder = tmp_path_factory.mktemp("reader")
    train, scored = write_lines(folder / "train", numbers(96, 1)), write_lines(folder / "eval", numbers(24, 2), 5)
    config = write_tree(folder / "rec.yml", recogniser(folder, train, scored))
    out = folder / "trained"
    result = commands.run_train(load_config(config, [*TRAINED, f"Global.save_model_dir={out}"]))
    assert result["best"]["acc"] > 0.8 and result["best"]["norm_edit_dis"] >= result["best"]["acc"]
    return config, out / "best_accuracy"


@pytest.fixture(scope="module")
def sorter(tmp_path_factory):
    """The configuration of a classifier, and what it trained to."""
    folder = tmp_path_factory.mktemp("sorter")
    train, scored = write_turned(folder / "train", numbers(48, 1)), write_turned(folder / "eval", numbers(16, 2), 5)
    config = write_tree(folder / "cls.yml", classifier(train, scored))
    out = folder / "trained"
    result = commands.run_train(
        load_config(config, [*TRAINED[1:], "Global.epoch_num=20", f"Global.save_model_dir={out}"])
    )
    assert result["best"]["acc"] > 0.8
    return config, out / "best_accuracy"


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "groups"), [("reader", 5), ("sorter", 4)])
def test_all_three_stages(request, tmp_path, kind, groups):
    config, weights = request.getfixturevalue(kind)
    common = [f"Global.pretrained_model={weights}", f"Global.save_model_dir={tmp_path}"]
    measured = commands.run_sensitivity(load_config(config, common))
    assert measured["groups"] == groups and measured["baseline"]["acc"] > 0.8
    table = pickle.loads((tmp_path / "sen.pickle").read_bytes())
    assert {f"backbone.convs.{index}.weight" for index in range(4)} <= set(table)
    out = [f"Global.save_model_dir={tmp_path}/pruned", f"Prune.sen_file={tmp_path}/sen.pickle", *TRAINED[1:]]
    pruned = commands.run_prune(
        load_config(config, [common[0], *out, "Prune.skip_loss=1", "Prune.target={macs: 0.3}", "Prune.align=1"])
    )
    assert pruned["macs"][1] <= 0.7 * pruned["macs"][0] and pruned["best"]["acc"] > 0.7
    done = [f"Global.pretrained_model={pruned['checkpoint']}", f"Global.save_inference_dir={tmp_path}/inference"]
    exported = commands.run_export(load_config(config, done))
    assert exported["pruned"] and max(exported["max_difference"].values()) < 1e-5
    whole = load_config(config, [f"Global.pretrained_model={tmp_path}/inference"])
    assert commands.run_eval(whole)["acc"] == pruned["best"]["acc"]


@pytest.mark.slow
def test_a_recogniser_by_reconstruction_and_its_adaptive_analysis(reader, tmp_path):
    config, weights = reader
    words = [f"Global.pretrained_model={weights}", f"Global.save_model_dir={tmp_path}"]
    found = commands.run_sensitivity(
        load_config(config, [*words, "Prune.mode=adaptive", "Metric.main_indicator=norm_edit_dis"])
    )
    assert found["settled"] == 5
    more = ["Prune.criterion=reconstruction", "Prune.skip_loss=1", "Prune.target={macs: 0.2}", "Global.epoch_num=1"]
    result = commands.run_prune(load_config(config, [words[0], f"Global.save_model_dir={tmp_path}/out", *more]))
    assert result["start"]["norm_edit_dis"] > 0.6, "refitting alone keeps most of it"


@pytest.mark.slow
def test_costs_are_counted_at_the_size_that_the_configuration_says(reader, capsys):
    config, _ = reader
    groups = commands.run_groups(load_config(config))
    assert groups["input_shape"] == [1, 3, 32, 96] and groups["prunable_macs_share"] > 0.95
    wide = [f"{mode}.dataset.transforms.RecResizeImg.image_shape=[3,32,160]" for mode in ("Train", "Eval")]
    assert commands.run_groups(load_config(config, wide))["input_shape"] == [1, 3, 32, 160]


@pytest.mark.slow
def test_texts_are_predicted_as_json_and_written_under_the_image(reader, tmp_path):
    config, weights = reader
    settings = load_config(config, [f"Global.pretrained_model={weights}"])
    result = predict_images(open_engine(settings), settings, config.parent / "eval", tmp_path)
    found = json.loads((tmp_path / "texts.json").read_text(encoding="utf-8"))
    expected = dict(zip([f"{index}.png" for index in range(24)], numbers(24, 2)))
    assert result.file.name == "texts.json" and set(found["0.png"]) == {"text", "score"}
    assert np.mean([found[name]["text"] == text for name, text in expected.items()]) > 0.8
    source, drawn = cv2.imread(str(config.parent / "eval/0.png")), cv2.imread(str(tmp_path / "0.png.png"))
    assert np.array_equal(drawn[: source.shape[0], : source.shape[1]], source), "the text stands beside, not on, it"
    assert drawn.shape[0] > source.shape[0] and (drawn[source.shape[0] :] < 128).any()


@pytest.mark.slow
def test_the_boxes_of_a_page_score_as_the_lines_that_were_cut_out_of_it(reader, tmp_path):
    config, weights = reader
    texts = numbers(24, 2)
    label = write_page(tmp_path, texts, 5)
    words = [f"Global.pretrained_model={weights}", f"Eval.dataset.label_file_list=[{label}]"]
    found = commands.run_eval(load_config(config, [*words, f"Eval.dataset.data_dir={tmp_path}"]))
    alone = commands.run_eval(load_config(config, words[:1]))
    assert found["images"] == alone["images"] == 24 and found["acc"] == pytest.approx(alone["acc"], abs=0.1)


@pytest.mark.slow
def test_lines_of_any_width_are_read(reader, tmp_path):
    config, weights = reader
    label = write_lines(tmp_path / "long", ["123456789012"])
    free = ["Eval.dataset.transforms.RecResizeImg.eval_mode=true", f"Eval.dataset.label_file_list=[{label}]"]
    words = [f"Global.pretrained_model={weights}", f"Eval.dataset.data_dir={label.parent}"]
    whole = commands.run_eval(load_config(config, [*words, *free]))
    squeezed = commands.run_eval(load_config(config, [*words, free[1]]))
    assert whole["norm_edit_dis"] > 0.5 > squeezed["norm_edit_dis"], "squeezed, it is lost; the text is longer than 8"


@pytest.mark.slow
def test_classes_are_predicted_as_json(sorter, tmp_path):
    config, weights = sorter
    settings = load_config(config, [f"Global.pretrained_model={weights}"])
    result = predict_images(open_engine(settings), settings, config.parent / "eval", tmp_path)
    found = json.loads((tmp_path / "classes.json").read_text())
    assert set(found["0.png"]) == {"class", "score"} and len(result.found) == 16
    assert np.mean([found[f"{index}.png"]["class"] == ("180" if index % 2 else "0") for index in range(16)]) > 0.8
