"""Settings that pass every parser and mean nothing, and those at the edge that do mean something."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocrslim.config.config import load_config
from ocrslim.errors import ConfigError

REPO = Path(__file__).resolve().parents[2]
MAIN = REPO / "configs/det/det_mv3_db.yml"


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(MAIN, overrides)
    assert len(caught.value.problems) == 1, caught.value.problems
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "Global.epoch_num=100000000",
        "Global.print_batch_step=9999999999",
        "Global.eval_batch_step=[0,9999999999]",
        "Global.scale_loss=1e30",
        "Global.infer_img=[a]",
        "Global.infer_img=3.5",
        "Global.infer_img={a: b}",
        "Global.model_name=[a]",
        "Architecture.Backbone.in_channels=4",
        "Architecture.Neck.out_channels=4000000000",
        "Architecture.Head.k=1e30",
        "Loss.alpha=1e30",
        "Loss.ohem_ratio=1e300",
        "Loss.eps=5",
        "Optimizer.lr.learning_rate=1e30",
        "Optimizer.lr={name: Piecewise, decay_epochs: [2], values: [0.1, 1e30]}",
        "Optimizer.lr={name: Piecewise, decay_epochs: [1e300], values: [0.1, 0.1]}",
        "Optimizer.lr.warmup_epoch=1e300",
        "Optimizer.regularizer.factor=1e30",
        "Optimizer.epsilon=1e30",
        "Optimizer.clip_norm=1e300",
        "Optimizer.clip_norm=1e-300",
        "PostProcess.thresh=0",
        "PostProcess.thresh=1",
        "PostProcess.box_thresh=1",
        "PostProcess.max_candidates=1000000000",
        "PostProcess.unclip_ratio=1e9",
        "Prune.ratios=[1e-300,0.5]",
        "Prune.ratios=[0.5,0.99999999]",
        "Prune.cache_gib=1e300",
        "Prune.layers=[]",
        "Prune.budget_minutes=1e300",
        "Prune.workers=1000000",
        "Prune.align=100000",
        "Prune={rounds: 1000000, target: {macs: 0.5}}",
        "Prune.skip_loss=2",
        "Prune.recover_images=99999999",
        "Prune.distill.maps=1e30",
        "Train.loader.batch_size_per_card=99999999",
        "Train.loader.num_workers=99999",
        "Train.dataset.ext_op_transform_idx=99999",
        "Prune.shard=1/" + "9" * 50,
    ],
)
def test_a_number_that_means_nothing_is_refused(text):
    line = refusal(text)
    assert line.startswith(f"-o {text}: ") and "expected" in line


@pytest.mark.parametrize(
    "text",
    [
        "Global.epoch_num=1",
        "Global.print_batch_step=1000000000",
        "Global.eval_batch_step=[0,1000000000]",
        "Global.infer_img=doc/imgs_en/img_10.jpg",
        "Global.infer_img=",
        "Architecture.Backbone.in_channels=3",
        "Optimizer.lr.learning_rate=0",
        "Optimizer.lr.learning_rate=1",
        "PostProcess.thresh=0.2",
        "PostProcess.box_thresh=0",
        "PostProcess.unclip_ratio=0.5",
        "PostProcess.max_candidates=3000",
        "Prune.skip_loss=1.0",
        "Prune.cache_gib=0",
        "Prune.shard=2/8",
    ],
)
def test_a_number_at_the_edge_is_accepted(text):
    assert load_config(MAIN, [text])


@pytest.mark.parametrize(
    "text",
    [
        'Global.save_model_dir="a\\0b"',
        'Global.save_model_dir="\\ud800"',
        'Global.save_model_dir="a\\nb"',
        'Global.pretrained_model="\\e[2J"',
        'Global.checkpoints="a\\0b"',
        'Global.wandb="\\udfff"',
        'Train.dataset.data_dir="a\\0b"',
        'Train.dataset.label_file_list=["a\\0b"]',
        'Train.dataset.delimiter="\\0"',
        'Prune.layers=["a\\0"]',
        'Prune.sen_file="\\ud83d"',
        f"Eval.dataset.data_dir={'x' * 5000}",
    ],
)
def test_text_that_no_path_or_file_can_hold_is_refused(text):
    assert len(refusal(text)) < 800


def test_a_configuration_of_faults_is_not_a_wall_of_them(tmp_path):
    path = tmp_path / "config.yml"
    path.write_text("Global:\n" + "".join(f"  key{number}: 1\n" for number in range(3000)))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert len(caught.value.problems) == 21 and "2980 more" in caught.value.problems[-1]


# What is said of a key that there is not


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Global.reader_yml=x", "Train.dataset and Eval.dataset of this one"),
        ("Global.train_batch_size_per_card=4", "Train.loader.batch_size_per_card"),
        ("Global.image_shape=[3,640,640]", "EastRandomCropData.size"),
        ("Global.use_ema=true", "Optimizer.ema.decay"),
        ("Optimizer.base_lr=0.1", "Optimizer.lr.learning_rate"),
        ("Optimizer.decay={function: cosine_decay}", "Optimizer.lr"),
        ("Loss.function=x", "Loss.name"),
        ("Backbone={function: x}", "Architecture.Backbone"),
        ("TrainReader.num_workers=8", "it is Train"),
    ],
)
def test_a_key_of_paddleocr_1_is_told_what_replaced_it(text, expected):
    line = refusal(text)
    assert expected in line and "nearest" not in line


@pytest.mark.parametrize("text", ["Global.zzz=1", "Prune.qqqq=1", "Loss.xyz=1"])
def test_a_key_like_none_gets_those_that_there_are_and_no_nearest(text):
    line = refusal(text)
    assert "nearest" not in line and "valid here: " in line


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("Global.epoch_nun=1", "Global.epoch_num"),
        ("Global.Use_GPU=true", "Global.use_gpu"),
        ("Prune.tolerance=0.1", "Prune.loss_tolerance"),
        ("Train.dataset.shuffle=true", "Train.loader.shuffle"),
    ],
)
def test_a_key_like_another_is_told_which(text, nearest):
    assert f"nearest valid key: {nearest}" in refusal(text)
