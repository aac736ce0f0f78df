"""The table: PaddleSlim's numbers, resumed point by point, refused where it is of something else."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ocrslim import sensitivity
from ocrslim.artifacts import read_json, read_sensitivities, write_sensitivities
from ocrslim.config import load_config
from ocrslim.data import EvalSet, scan
from ocrslim.errors import ArtifactError, DataError
from ocrslim.evaluate import post_processor
from ocrslim.network import load_network
from ocrslim.pruning.proof import channel_graph
from ocrslim.pruning.pruners import ChannelPruner
from ocrslim.pruning.select import loss_of
from ocrslim.sensitivity import Study, analyse, load_table
from ocrslim.weights import state_arrays

GROUPS = ["backbone.stage2.2.expand_conv.conv.weight", "neck.in2_conv.weight"]
PUBLIC = ["conv10_expand_weights", "neck.in2_conv.weight"]
HASHES = {"weights": "w", "architecture": "a", "criterion": "fpgm", "evaluation data": "d"}


def study_of(config):
    model = load_network(config).model
    graph = channel_graph(model, [1, 3, 64, 96])
    return Study(
        model=model,
        graph=graph,
        architecture=config.section("Architecture"),
        images=EvalSet(scan(config, "Eval"), config),
        post_process=post_processor(config),
        metric="hmean",
        criterion="fpgm",
        pruner=lambda: ChannelPruner(model, graph, "fpgm"),
        hashes=HASHES,
        config=config.tree,
    )


@pytest.fixture(scope="module")
def study(v2_config, pp_ocrv2, rendered_options):
    return study_of(load_config(v2_config, [*rendered_options, f"Global.pretrain_weights={pp_ocrv2}"]))


@pytest.fixture(scope="module")
def undisturbed(study, tmp_path_factory):
    return analyse(study, GROUPS, [0.2, 0.6], tmp_path_factory.mktemp("undisturbed"))


def test_every_point_is_measured_and_the_model_is_as_before(study, tmp_path):
    before = state_arrays(study.model)
    progress = analyse(study, GROUPS, [0.2, 0.6], tmp_path)
    assert {name: sorted(losses) for name, losses in progress.table.items()} == {key: [0.2, 0.6] for key in PUBLIC}
    assert read_sensitivities(tmp_path / "sen.pickle") == progress.table
    record = read_json(tmp_path / "sen.json", "")
    assert record["hashes"] == HASHES and 0.3 < record["baseline"]["hmean"] <= 1
    assert "head.binarize.conv3.weight" in record["unprunable"]
    assert progress.table["neck.in2_conv.weight"][0.6] > progress.table["neck.in2_conv.weight"][0.2]
    after = state_arrays(study.model)
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_an_interrupted_run_ends_with_the_file_of_an_undisturbed_one(study, undisturbed, tmp_path, monkeypatch):
    scored = []
    real = sensitivity._score

    def interrupted(*arguments):
        if len(scored) == 3:
            raise KeyboardInterrupt
        scored.append(1)
        return real(*arguments)

    monkeypatch.setattr(sensitivity, "_score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        analyse(study, GROUPS, [0.2, 0.6], tmp_path)
    assert sum(map(len, read_sensitivities(tmp_path / "sen.pickle").values())) == 2, "the baseline and two points"

    scored.clear()
    monkeypatch.setattr(sensitivity, "_score", lambda *a: scored.append(1) or real(*a))
    analyse(study, GROUPS, [0.2, 0.6], tmp_path)
    assert len(scored) == 2, "only what was missing is measured"
    assert (tmp_path / "sen.pickle").read_bytes() == (undisturbed.folder / "sen.pickle").read_bytes()


@pytest.mark.parametrize("what", HASHES)
def test_a_table_of_something_else_is_refused_naming_it(study, undisturbed, tmp_path, what):
    for name in ("sen.pickle", "sen.json"):
        (tmp_path / name).write_bytes((undisturbed.folder / name).read_bytes())
    record = json.loads((tmp_path / "sen.json").read_text())
    record["hashes"][what] = "other"
    (tmp_path / "sen.json").write_text(json.dumps(record))
    before = (tmp_path / "sen.pickle").read_bytes()
    with pytest.raises(ArtifactError, match=f"other {what} than"):
        analyse(study, GROUPS, [0.2, 0.6], tmp_path)
    assert (tmp_path / "sen.pickle").read_bytes() == before
    fresh = analyse(study, GROUPS[:1], [0.6], tmp_path, overwrite=True)
    assert list(fresh.table) == PUBLIC[:1]


def test_a_table_without_its_record_is_not_continued(study, tmp_path):
    write_sensitivities(tmp_path / "sen.pickle", {"conv10_expand_weights": {0.2: 0.0}})
    with pytest.raises(ArtifactError, match=r"no sen\.json beside it.*Global\.overwrite=true"):
        analyse(study, GROUPS, [0.2], tmp_path)
    write_sensitivities(tmp_path / "sen.pickle", {})
    assert analyse(study, GROUPS[:1], [0.2], tmp_path).table, "an empty table is no reason to refuse"


@pytest.mark.parametrize(
    "damage",
    [{"baseline": None}, {"baseline": {"hmean": "x"}}, {"seconds": None}, {"schema": 99}, {"hashes": []}],
    ids=str,
)
def test_a_damaged_record_is_refused_with_a_remedy(study, undisturbed, tmp_path, damage):
    for name in ("sen.pickle", "sen.json"):
        (tmp_path / name).write_bytes((undisturbed.folder / name).read_bytes())
    record = json.loads((tmp_path / "sen.json").read_text())
    (tmp_path / "sen.json").write_text(json.dumps({**record, **damage}))
    with pytest.raises(ArtifactError, match=r"sen\.json: damaged.*overwrite=true"):
        analyse(study, GROUPS, [0.2], tmp_path)


def test_overwriting_starts_over_once_and_then_continues(study, undisturbed, tmp_path, monkeypatch):
    for name in ("sen.pickle", "sen.json"):
        (tmp_path / name).write_bytes((undisturbed.folder / name).read_bytes())
    scored = []
    real = sensitivity._score

    def interrupted(*arguments):
        scored.append(1)
        if len(scored) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(sensitivity, "_score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        analyse(study, GROUPS, [0.2, 0.6], tmp_path, overwrite=True)
    analyse(study, GROUPS, [0.2, 0.6], tmp_path, overwrite=True)
    assert len(scored) == 3 + 3, "a finished table is replaced, an unfinished one goes on"


def test_a_table_with_layers_of_another_model_is_refused(study, undisturbed, tmp_path):
    (tmp_path / "sen.json").write_bytes((undisturbed.folder / "sen.json").read_bytes())
    write_sensitivities(tmp_path / "sen.pickle", {"conv2d_57.w_0": {0.2: 0.0}})
    with pytest.raises(ArtifactError, match=r"conv2d_57\.w_0 is a name that Paddle gives by itself"):
        analyse(study, GROUPS, [0.2], tmp_path)
    write_sensitivities(tmp_path / "sen.pickle", {"neck.other.weight": {0.2: 0.0}})
    with pytest.raises(ArtifactError, match=r"neck\.other\.weight is not a prunable layer.*another model"):
        analyse(study, GROUPS, [0.2], tmp_path)


def test_a_baseline_of_zero_is_refused(study, tmp_path, monkeypatch):
    monkeypatch.setattr(sensitivity, "_score", lambda *_: {"precision": 0.0, "recall": 0.0, "hmean": 0.0})
    with pytest.raises(DataError, match="nothing to lose"):
        analyse(study, GROUPS, [0.2], tmp_path)
    assert not list(tmp_path.iterdir())


def test_pruning_reads_the_table_by_state_dict_keys_and_checks_its_record(study, undisturbed, tmp_path, caplog):
    path = undisturbed.folder / "sen.pickle"
    graph, architecture = study.graph, study.architecture
    table = load_table(path, graph, architecture, {"weights": "w", "architecture": "a"})
    assert set(table) == set(GROUPS)
    with pytest.raises(ArtifactError, match="other weights than"):
        load_table(path, graph, architecture, {"weights": "other"})
    alone = tmp_path / "sen.pickle"
    alone.write_bytes(path.read_bytes())
    load_table(alone, graph, architecture, {"weights": "other"})
    assert "cannot tell which weights" in caplog.text
    write_sensitivities(alone, {"conv10_expand_weights": {}})
    with pytest.raises(ArtifactError, match="no measured point"):
        load_table(alone, graph, architecture, {})


def test_loss_is_paddleslims():
    assert loss_of(0.5, 0.25) == pytest.approx(0.25 / 0.501)
    assert loss_of(0.5, 0.6) < 0


def test_reference_table_of_paddleslim(shared, v2_config, pp_ocrv2, tmp_path):
    """PaddleSlim's own pruner and tracer, PaddleOCR's own evaluation: the same losses to 1e-6.

    Three of the points here; benchmarks/reference_table.py compares the rest.
    """
    reference = json.loads((shared / "reference/icdar2015_val20_fpgm.json").read_text())
    labels = (shared / "data/icdar2015/val.txt").read_text(encoding="utf-8").splitlines()[:20]
    (tmp_path / "val20.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    config = load_config(
        v2_config,
        [
            f"Global.pretrain_weights={pp_ocrv2}",
            f"Eval.dataset.data_dir={shared}/data/icdar2015/images",
            f"Eval.dataset.label_file_list=[{tmp_path}/val20.txt]",
            "Eval.dataset.transforms.DetResizeForTest={image_shape: [736, 1280]}",
        ],
    )
    real = study_of(config)
    points = {
        "backbone.stage2.4.linear_conv.conv.weight": 0.3,
        "neck.in2_conv.weight": 0.3,
        "head.binarize.conv1.weight": 0.2,
    }
    assert set(real.graph.groups) > set(reference["sensitivities"]), "all that PaddleSlim finds, and more"
    for name, ratio in points.items():
        progress = analyse(real, [name], [ratio], tmp_path / "out")
        assert progress.record["baseline"]["hmean"] == pytest.approx(reference["baseline_hmean"], abs=1e-6)
        found = progress.table[sensitivity.to_public(name, real.architecture)][ratio]
        assert found == pytest.approx(reference["sensitivities"][name][f"{ratio:g}"], abs=1e-6)


def test_a_changed_criterion_is_told_with_both_values(tmp_path):
    record = {"schema": 1, "hashes": {"criterion": "l1", "weights": "w"}, "seconds": 1}
    record["baseline"] = {"precision": 1, "recall": 1, "hmean": 1}
    with pytest.raises(
        ArtifactError, match=r"other weights and criterion than this run's \(criterion: l1 there, fpgm here\)"
    ):
        sensitivity.check_record(record, {"weights": "v", "criterion": "fpgm"}, tmp_path, "again")
