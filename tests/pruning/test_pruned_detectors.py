"""Each of the project's detectors, pruned everywhere: it trains, goes through its checkpoint and its export."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from slow import quick

from ocrslim.config.config import load_config
from ocrslim.data import Prepared
from ocrslim.export.exporter import export
from ocrslim.formats import PLAN_SUFFIX
from ocrslim.inference.engines import DygraphEngine
from ocrslim.models import save_checkpoint, state_arrays
from ocrslim.models.factory import build_model
from ocrslim.pruning.channel_graph import channel_graph
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.loading import load_network
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.surgery.cutting import apply_plan

CONFIGS = [
    "configs/det/det_mv3_db.yml",
    "configs/det/ch_ppocr_v2.0/ch_det_mv3_db_v2.0.yml",
    "configs/det/ch_PP-OCRv3/ch_PP-OCRv3_det_student.yml",
]
RATIO = 0.4


@pytest.fixture(scope="module", params=quick(CONFIGS, CONFIGS[1:2]), ids=lambda path: path.rpartition("/")[2])
def trained(request, repo):
    """A pruned detector after one step of training, its plan and its configuration."""
    config = load_config(repo / request.param, ["Global.use_gpu=false"])
    paddle.seed(2)
    model = build_model(config.section("Architecture"))
    graph = channel_graph(model, [1, 3, 64, 96])
    cuts = ChannelPruner(model, graph, "fpgm").cuts(dict.fromkeys(graph.groups, RATIO))
    plan = Plan(config.section("Architecture"), cuts, dict.fromkeys(graph.groups, RATIO), graph.unprunable, "fpgm")
    apply_plan(model, plan)
    before = state_arrays(model)
    optimizer = paddle.optimizer.Adam(1e-3, parameters=model.parameters())
    model.train()
    loss = (model(image(2))["maps"] - 0.3).square().mean()
    loss.backward()
    optimizer.step()
    model.eval()
    return model, plan, config, before


def image(batch=1):
    return paddle.to_tensor(np.random.default_rng(4).standard_normal((batch, 3, 64, 96)).astype("float32"))


def test_a_step_of_training_moves_every_layer(trained):
    model, plan, _, before = trained
    after = state_arrays(model)
    sizes = {key: value.shape for key, value in before.items()}
    assert {key: value.shape for key, value in after.items()} == sizes
    for cut in plan.cuts:
        assert sizes[cut.key][cut.axis] == len(cut.keep)
    still = [
        key for key, p in model.named_parameters() if not p.stop_gradient and np.array_equal(before[key], after[key])
    ]
    assert not [key for key in still if not key.endswith(".bias")], "a bias in front of a norm may stand still"


def test_its_checkpoint_and_plan_rebuild_it(trained, tmp_path):
    model, plan, config, _ = trained
    save_checkpoint(model, tmp_path / "best.pdparams")
    plan.save(tmp_path / f"best{PLAN_SUFFIX}")
    again = load_network(load_config(config.path, [f"Global.pretrain_weights={tmp_path}/best", "Global.use_gpu=false"]))
    assert again.plan is not None and again.plan.hash() == plan.hash()
    picture = image().numpy()
    np.testing.assert_array_equal(DygraphEngine(again.model)(picture), DygraphEngine(model)(picture))


def test_its_export_computes_the_same(trained, tmp_path):
    model, _, config, _ = trained
    picture = image().numpy()
    height, width = picture.shape[2:]
    sample = Prepared(np.zeros((height, width, 3), np.uint8), picture, np.array([[height, width, 1, 1]], np.float32))
    exported = export(model, config, tmp_path / "inference", sample, {"plan": "x"})
    assert max(exported.differences.values()) < 1e-4
