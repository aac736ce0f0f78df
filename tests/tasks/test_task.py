"""The interface of a task, held by one of its own: it goes through all stages, and nothing else knows of it."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from colour import ColourHead, ColourNet, Colours, write_config, write_images

from ocrslim import commands
from ocrslim.config import load_config
from ocrslim.errors import ConfigError, DataError
from ocrslim.evaluation import open_engine
from ocrslim.tasks import REGISTERED_PARTS, register, registry, task_of, task_types


@pytest.fixture(scope="module")
def known():
    """The task and its network, known while these tests run."""
    patch = pytest.MonkeyPatch()
    patch.setattr(registry, "_TASKS", dict(registry._TASKS))
    patch.setitem(REGISTERED_PARTS["Backbone"], "ColourNet", ColourNet)
    patch.setitem(REGISTERED_PARTS["Head"], "ColourHead", ColourHead)
    yield register(Colours())
    patch.undo()


@pytest.fixture(scope="module")
def config(known, tmp_path_factory):
    folder = tmp_path_factory.mktemp("colours")
    write_images(folder / "images/train", 24, seed=1)
    write_images(folder / "images/eval", 12, seed=2)
    return write_config(folder / "colour.yml", folder / "images")


@pytest.fixture(scope="module")
def trained(config):
    out = config.parent / "trained"
    result = commands.run_train(load_config(config, [f"Global.save_model_dir={out}"]))
    assert result["best"]["acc"] > 0.9, "the network can tell the colours"
    return out / "best_accuracy"


def test_all_three_stages(config, trained, tmp_path):
    common = [f"Global.pretrained_model={trained}", f"Global.save_model_dir={tmp_path}"]
    measured = commands.run_sensitivity(load_config(config, [*common, "Prune.engine=dygraph"]))
    assert measured["groups"] == 3 and measured["points"] == 6 and measured["baseline"] == {"acc": 1.0}
    table = pickle.loads((tmp_path / "sen.pickle").read_bytes())
    assert set(table) == {f"backbone.convs.{index}.weight" for index in range(3)}
    out = [f"Global.save_model_dir={tmp_path}/pruned", f"Prune.sen_file={tmp_path}/sen.pickle", "Global.epoch_num=2"]
    pruned = commands.run_prune(load_config(config, [common[0], *out, "Prune.target={macs: 0.4}"]))
    assert pruned["macs"][1] <= 0.6 * pruned["macs"][0] and pruned["best"]["acc"] > 0.9
    done = [f"Global.pretrained_model={pruned['checkpoint']}", f"Global.save_inference_dir={tmp_path}/inference"]
    exported = commands.run_export(load_config(config, done))
    assert exported["pruned"] and max(exported["max_difference"].values()) < 1e-5
    whole = load_config(config, [f"Global.pretrained_model={tmp_path}/inference"])
    assert commands.run_eval(whole)["acc"] == pruned["best"]["acc"]


def test_the_adaptive_mode_and_a_plan_by_reconstruction(config, trained, tmp_path):
    words = [f"Global.pretrained_model={trained}", f"Global.save_model_dir={tmp_path}"]
    found = commands.run_sensitivity(load_config(config, [*words, "Prune.mode=adaptive"]))
    assert found["settled"] == 3
    more = ["Prune.criterion=reconstruction", "Prune.target={macs: 0.3}", "Global.epoch_num=1"]
    result = commands.run_prune(load_config(config, [words[0], f"Global.save_model_dir={tmp_path}/out", *more]))
    assert result["start"]["acc"] > 0.9, "refitting alone keeps it"


def test_predictions_are_the_tasks_own(config, trained, tmp_path):
    from ocrslim.evaluation import predict_images

    settings = load_config(config, [f"Global.pretrained_model={trained}"])
    predict_images(open_engine(settings), settings, config.parent / "images/eval", tmp_path)
    (file,) = tmp_path.glob("*.json")
    assert json.loads(file.read_text())["0.png"] == "red"


def test_costs_are_counted_at_its_own_size(config, known, capsys):
    groups = commands.run_groups(load_config(config))
    assert groups["input_shape"] == list(known.nominal_shape) and groups["prunable_macs_share"] > 0.99
    assert "at 32x32" in capsys.readouterr().out


def test_its_labels_are_read_its_way(config, trained, tmp_path):
    lines = (config.parent / "images/eval/label.txt").read_text().replace("green", "grey", 1)
    (tmp_path / "label.txt").write_text(lines)
    words = [f"Eval.dataset.label_file_list={tmp_path}/label.txt", f"Global.save_model_dir={tmp_path}"]
    with pytest.raises(DataError, match="line 2: 'grey' is no colour, expected one of red, green, blue"):
        commands.run_sensitivity(load_config(config, [*words, f"Global.pretrained_model={trained}"]))


def test_its_configuration_is_checked_by_its_own_schema(config):
    with pytest.raises(ConfigError, match=r"Architecture.Backbone.*channel"):
        load_config(config, ["Architecture.Backbone.channel=3"])
    with pytest.raises(ConfigError, match="Metric.main_indicator=hmean: found 'hmean', expected acc"):
        load_config(config, ["Metric.main_indicator=hmean"])


def test_detection_has_not_changed(known):
    assert set(task_types()) == {"det", "rec", "cls", "colour"}
    detection = task_of("det")
    assert detection.main_indicator == "hmean" and detection.nominal_shape == (1, 3, 736, 1280)
    assert detection.scores([(2, 4, 1)]) == pytest.approx({"precision": 0.25, "recall": 0.5, "hmean": 1 / 3})
    with pytest.raises(ConfigError, match="'sr' is not supported: expected 'det' or 'rec' or 'cls' or 'colour'"):
        task_of("sr")


def test_scores_follow_from_counts(known):
    assert known.scores([(1, 1, 1), (1, 1, 0)]) == {"acc": 0.5} and known.scores([]) == {"acc": 0.0}
    with pytest.raises(ValueError, match="more matches than there can be"):
        known.counts_of([1, 1, 2])
    assert np.isclose(known.scores([(1, 1, 1)] * 3 + [(1, 1, 0)])["acc"], 0.75)


@pytest.mark.parametrize("kind", task_types())
def test_a_model_of_which_only_the_task_is_known_can_be_run(kind):
    task = task_of(kind)
    dictionary = {"character_dict_path": "ppocr/utils/ppocr_keys_v1.txt"}  # what tasks without one do not read
    settings = {**dictionary, **task.defaults.settings}
    for transform in task.defaults.transforms:
        ((name, arguments),) = transform.items()
        assert task.build_operator(name, arguments, settings)
    assert task.post_process(task.defaults.post_process, settings)
