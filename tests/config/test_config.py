"""Configurations: what is read, what `-o` changes, and one clear line for everything that is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from shipped import shipped

from ocrslim.config import yaml_reader as yamlfile
from ocrslim.config.config import PruneOptions, load_config
from ocrslim.config.export_schema import ExportOptions
from ocrslim.errors import ArtifactError, ConfigError

REPO = Path(__file__).resolve().parents[2]
MAIN = REPO / "configs/det/det_mv3_db.yml"
LIGHT = REPO / "configs/det/ch_ppocr_v2.0/ch_det_mv3_db_v2.0.yml"
STUDENT = REPO / "configs/det/ch_PP-OCRv3/ch_PP-OCRv3_det_student.yml"
SHIPPED = sorted((REPO / "configs").rglob("*.yml"))
RESIZE = "Eval.dataset.transforms.DetResizeForTest"

# As PaddleOCR's files look: anchors, aliases, a merge, empty values, keys that only other tasks read.
UPSTREAM_LIKE = """
Global:
  use_gpu: true
  use_xpu: false
  epoch_num: &epoch_num 7
  eval_batch_step: 400
  save_model_dir: ./output/x
  load_static_weights: True
  pretrained_model:
  checkpoints:
  max_text_length: &max_text_length 25
  d2s_train_image_shape: [3, -1, -1]
  use_amp: False
Optimizer:
  name: Adam
  lr: {name: Cosine, learning_rate: 1e-3, warmup_epoch: 2}
  regularizer: {name: L2, factor: 0}
Train:
  dataset: &dataset
    name: SimpleDataSet
    data_dir: ./data
    label_file_list: [./data/train.txt]
    transforms:
      - DecodeImage: {img_mode: BGR}
      - MakeShrinkMap: {total_epoch: *epoch_num, min_text_size: *max_text_length}
      - NormalizeImage: {scale: 1./255., std: &std [1.0, 1.0, 1.0]}
      - KeepKeys: {keep_keys: [image]}
  loader: {shuffle: True, drop_last: False, batch_size_per_card: 2, num_workers: 0}
Eval:
  dataset:
    <<: *dataset
    label_file_list: ./data/val.txt
  loader: {shuffle: False, drop_last: False, batch_size_per_card: 1, num_workers: 0}
profiler_options: null
"""


@pytest.fixture
def write(tmp_path):
    def writer(text: str | bytes, name: str = "config.yml") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return writer


def problems(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    assert all("\n" not in line for line in caught.value.problems)
    return caught.value.problems


def problem(path: Path, *overrides: str) -> str:
    lines = problems(path, *overrides)
    assert len(lines) == 1, lines
    return lines[0]


# Shipped files


@pytest.mark.parametrize("path", shipped())
def test_every_shipped_config_loads_and_opens_with_its_three_commands(path):
    config = load_config(path, ["Global.pretrain_weights=x", "Global.test_batch_size_per_card=1"])
    config.require("Global", "Architecture", "Loss", "Optimizer", "PostProcess", "Metric", "Train", "Eval", "Prune")
    assert config.prune == PruneOptions() and config.export == ExportOptions()
    head = path.read_text().split("\nGlobal:")[0]
    for script in ("sensitivity_anal", "pruning_and_finetune", "export_prune_model"):
        assert f"python deploy/slim/prune/{script}.py -c {path.relative_to(REPO)} -o Global.pretrain_weights=" in head
    assert f"Global.pretrain_weights={config.get('Global.save_model_dir')}best_accuracy" in head


def test_the_three_configs_are_shipped():
    assert {MAIN, LIGHT, STUDENT} <= set(SHIPPED)


@pytest.mark.parametrize("path", [MAIN, LIGHT, STUDENT], ids=lambda path: path.stem)
def test_architectures_are_paddleocrs(path, shared):
    golden = json.loads((shared / "compat/state_dicts.json").read_text())
    assert load_config(path).section("Architecture") == golden[path.stem]["architecture"]


def test_the_third_command_finds_what_the_second_wrote():
    assert load_config(MAIN).save_model_dir == Path("output/det_db")


def test_reading_a_config_does_not_import_paddle():
    load = f"from ocrslim.config.config import load_config; load_config({str(MAIN)!r})"
    code = f"import sys; {load}; assert 'paddle' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPO)


# Reading


def test_paddleocrs_yaml_with_anchors_and_merges(write):
    config = load_config(write(UPSTREAM_LIKE))
    assert config.get("Train.dataset.transforms.1.MakeShrinkMap") == {"total_epoch": 7, "min_text_size": 25}
    assert config.get("Eval.dataset.transforms.NormalizeImage.scale") == "1./255."
    assert config.get("Eval.dataset.label_file_list") == ["./data/val.txt"]
    assert config.get("Optimizer.lr.learning_rate") == 0.001
    assert config.weights is None
    assert (config.seed, config.overwrite) == (1024, False)


def test_anchored_values_are_independent_copies(write):
    config = load_config(write(UPSTREAM_LIKE), ["Train.dataset.transforms.2.NormalizeImage.std=[2, 2, 2]"])
    assert config.get("Train.dataset.transforms.NormalizeImage.std") == [2, 2, 2]
    assert config.get("Eval.dataset.transforms.NormalizeImage.std") == [1.0, 1.0, 1.0]
    later = load_config(write(UPSTREAM_LIKE), ["Global.epoch_num=9"])
    assert later.get("Train.dataset.transforms.MakeShrinkMap.total_epoch") == 7  # as in PaddleOCR


@pytest.mark.parametrize("path", shipped())
def test_a_saved_config_loads_back_to_the_same_tree(path, tmp_path):
    config = load_config(path, ["Optimizer.lr.learning_rate=1e-5", "Prune.align=8", "Prune.skip=[conv1*, 'neck.*']"])
    config.save(tmp_path / "saved.yml")
    again = load_config(tmp_path / "saved.yml")
    assert again.tree == config.tree
    assert again.prune == config.prune
    assert json.loads(json.dumps(config.tree)) == config.tree


def test_saving_where_one_cannot_is_refused(write):
    config = load_config(MAIN)
    with pytest.raises(ArtifactError, match="cannot be written"):
        config.save(write("", "file") / "config.yml")


def test_callers_get_copies():
    config = load_config(MAIN)
    config.section("Architecture")["Backbone"]["scale"] = 9
    config.get("Train.dataset.label_file_list").clear()
    assert config.get("Architecture.Backbone.scale") == 0.5
    assert config.get("Train.dataset.label_file_list")
    assert config.section("Nothing") == {}
    assert config.get("Global.nothing", 3) == 3


def test_a_file_without_a_prune_section_gets_the_defaults(write):
    text = yaml.safe_dump({key: value for key, value in yaml.safe_load(MAIN.read_text()).items() if key != "Prune"})
    assert load_config(write(text)).prune == PruneOptions()
    assert load_config(write("Prune:\nGlobal:\n")).prune == PruneOptions()


def test_require_names_what_is_missing(write):
    config = load_config(write("Global: {use_gpu: false}\n"), ["Global.test_batch_size_per_card=1"])
    config.require("Global", "Prune", "Eval.loader")
    with pytest.raises(ConfigError) as caught:
        config.require("Architecture", "Eval")
    assert [line.split(": ")[1] for line in caught.value.problems] == ["Architecture", "Eval.dataset"]
    assert all("configs" in line for line in caught.value.problems)


# Overrides


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("Global.epoch_num=3", "Global.epoch_num", 3),
        ("Global.seed=5", "Global.seed", 5),  # a key that the file does not have
        ("Global.checkpoints=", "Global.checkpoints", None),
        ("Global.save_model_dir=a=b", "Global.save_model_dir", "a=b"),
        ("Train.loader.batch_size_per_card=2", "Train.loader.batch_size_per_card", 2),
        ("Optimizer.lr.learning_rate=1e-4", "Optimizer.lr.learning_rate", 1e-4),
        ("Eval.dataset.label_file_list=[a, b]", "Eval.dataset.label_file_list", ["a", "b"]),
        ("Eval.dataset.label_file_list=a", "Eval.dataset.label_file_list", ["a"]),
        ("Train.dataset.label_file_list.0=z", "Train.dataset.label_file_list", ["z"]),
        (
            "Eval.dataset.transforms.2.DetResizeForTest.image_shape=[96,96]",
            f"{RESIZE}.image_shape",
            [96, 96],
        ),
        (f"{RESIZE}={{limit_side_len: 960}}", "Eval.dataset.transforms.2.DetResizeForTest", {"limit_side_len": 960}),
        ("Prune.layers=conv*_weights", "Prune.layers", ["conv*_weights"]),
        ("Prune.ratios=[0.5]", "Prune.ratios", [0.5]),
        ("Global.eval_batch_step=[10,5]", "Global.eval_batch_step", [10, 5]),
    ],
)
def test_overrides_are_parsed_as_yaml(text, key, value):
    assert load_config(MAIN, [text]).get(key) == value


def test_an_override_fills_an_empty_transform():
    config = load_config(LIGHT, [f"{RESIZE}.limit_side_len=960", f"{RESIZE}.limit_type=max"])
    assert config.get(RESIZE) == {"limit_side_len": 960, "limit_type": "max"}


def test_a_mapping_for_a_section_changes_only_the_keys_it_names():
    config = load_config(MAIN, ["Global={epoch_num: 2, pretrain_weights: w}"])
    assert (config.get("Global.epoch_num"), config.weights, config.get("Global.print_batch_step")) == (2, "w", 10)


def test_of_one_key_given_twice_the_last_counts():
    assert load_config(MAIN, ["Global.pretrain_weights=a", "Global.pretrain_weights=b"]).weights == "b"


def test_a_resize_option_that_paddleocr_would_ignore_is_an_error():
    line = problem(MAIN, f"{RESIZE}.limit_side_len=960")
    assert "image_shape=[736, 1280]" in line and f"-o '{RESIZE}={{limit_side_len: 960}}'" in line
    load_config(MAIN, [f"{RESIZE}={{limit_side_len: 960}}", f"{RESIZE}.limit_type=max"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Global.epoch_num", ["-o Global.epoch_num:", "Section.key=value"]),
        ("=3", ["Section.key=value"]),
        ("Global.=3", ["Section.key=value"]),
        ("Global.epoch_nun=3", ["-o Global.epoch_nun=3: unknown key", "nearest valid key: Global.epoch_num"]),
        ("Globl.epoch_num=3", ["unknown section", "Global"]),
        ("save_model_dir=x", ["unknown section", "nearest valid key: Global.save_model_dir"]),
        ("Global.pretrain_weight=x", ["nearest valid key: Global.pretrain_weights"]),
        ("Train.dataset.shuffle=true", ["nearest valid key: Train.loader.shuffle"]),
        ("Eval.dataset.num_workers=1", ["nearest valid key: Eval.loader.num_workers"]),
        ("Architecture.Backbone.out_channels=3", ["unknown key", "Architecture.Neck.out_channels"]),
        ("Global.epoch_num.x=3", ["Global.epoch_num is 1200, which has no keys"]),
        ("Eval.dataset.transforms.17.x=1", ["has 6 items", "no item 17"]),
        ("Eval.dataset.transforms.DetResizeForTst.x=1", ["no item DetResizeForTst", "nearest: DetResizeForTest"]),
        ("Prune.skip=*conv", ["not valid YAML", "put text in quotes"]),
        ("Global.epoch_num=!!python/object/apply:os.getcwd []", ["!!python/object/apply:os.getcwd", "not run"]),
        ("Train.dataset.transforms=[DecodeImage]", ["item 0", "'DecodeImage'"]),
        ("Train.dataset.label_file_list=[a,b]", ["2 label files", "-o Train.dataset.ratio_list=[1.0,1.0]"]),
    ],
)
def test_a_wrong_override_is_named_with_what_is_right(text, expected):
    line = problem(MAIN, text)
    assert all(part in line for part in expected), line


def test_a_transform_listed_twice_is_addressed_by_index(write):
    path = write(UPSTREAM_LIKE.replace("DecodeImage: {img_mode: BGR}", "KeepKeys: {keep_keys: [a]}"))
    assert "KeepKeys 2 times: name one as 0.KeepKeys" in problem(
        path, "Train.dataset.transforms.KeepKeys.keep_keys=[b]"
    )
    load_config(path, ["Train.dataset.transforms.0.KeepKeys.keep_keys=[b]"])


# Aliases


@pytest.mark.parametrize("filed", ["pretrain_weights", "pretrained_model"])
@pytest.mark.parametrize("given", ["pretrain_weights", "pretrained_model"])
def test_an_override_wins_over_either_spelling_in_the_file(write, filed, given):
    config = load_config(write(f"Global: {{{filed}: from_file}}\n"), [f"Global.{given}=from_o"])
    assert config.weights == "from_o"
    assert "pretrain_weights" not in config.tree["Global"]


def test_an_alias_in_the_file_is_read(write):
    assert load_config(write("Global: {pretrain_weights: w, pretrained_model: }\n")).weights == "w"


def test_two_spellings_that_disagree(write):
    path = write("Global: {pretrain_weights: a, pretrained_model: b}\n")
    assert "keep one" in problem(path)
    assert load_config(path, ["Global.pretrain_weights=c"]).weights == "c"
    assert load_config(path, ["Global.pretrain_weights=c", "Global.pretrained_model=c"]).weights == "c"
    assert "contradicts" in problem(path, "Global.pretrain_weights=c", "Global.pretrained_model=d")


def test_sizes_of_evaluation_batches_are_accepted_though_images_are_evaluated_one_by_one(write):
    for text in ("Global.test_batch_size_per_card=4", "Eval.loader.batch_size_per_card=4"):
        tree = load_config(MAIN, [text]).tree
        assert tree["Eval"]["loader"]["batch_size_per_card"] == 4
        assert "test_batch_size_per_card" not in tree["Global"]
        assert problem(MAIN, text.replace("4", "0")).startswith(f"-o {text.replace('4', '0')}: found 0, expected")
    line = problem(write("Global: {test_batch_size_per_card: 0}\n"))
    assert "config.yml: Global.test_batch_size_per_card: found 0" in line


# Values


@pytest.mark.parametrize(
    "text",
    [
        "Global.epoch_num=-1",
        "Global.epoch_num=1.5",
        "Global.epoch_num=true",
        "Global.epoch_num=",
        "Global.print_batch_step=0",
        "Global.eval_batch_step=[0]",
        "Global.eval_batch_step=[0,0]",
        "Global.eval_batch_step=0",
        "Global.use_gpu=maybe",
        "Global.overwrite=1",
        "Global.seed=-1",
        "Global.pretrain_weights=3",
        "Global.save_model_dir=' '",
        "Architecture.model_type=sr",
        "Architecture.algorithm=EAST",
        "Architecture.Transform={name: TPS}",
        "Architecture.Backbone.name=ResNat",
        "Architecture.Backbone=MobileNetV3",
        "Architecture.Backbone.scale=0.6",
        "Architecture.Neck.out_channels=95",
        "Architecture.Neck.use_asf=true",
        "Architecture.Head=",
        "Loss.main_loss_type=FocalLoss",
        "Loss.name=EASTLoss",
        "Optimizer.name=SGD",
        "Optimizer.beta1=1",
        "Optimizer.lr=0.1",
        "Optimizer.lr.name=Linier",
        "Optimizer.lr.learning_rate=-1",
        "Optimizer.lr.learning_rate=1e-x",
        "Optimizer.lr={name: Piecewise, decay_epochs: [2, 4], values: [0.1, 0.01]}",
        "Optimizer.lr={name: Piecewise, decay_epochs: [4, 2], values: [0.1, 0.01, 0.001]}",
        "Optimizer.regularizer.name=L3",
        "PostProcess.thresh=2",
        "PostProcess.name=EASTPostProcess",
        "Metric.main_indicator=accuracy",
        "Train.dataset.name=PictureSet",
        "Train.dataset.label_file_list=[]",
        "Train.dataset.ratio_list=[1.5]",
        "Train.dataset.transforms=[]",
        "Train.loader.batch_size_per_card=0",
        "Train.loader.num_workers=-1",
        "Prune.criterion=hrank",
        "Prune.group_score=sum",
        "Prune.calibration_batches=0",
        "Prune.ratios=[0.1,0.1]",
        "Prune.ratios=[0.3,0.1]",
        "Prune.ratios=[0,0.5]",
        "Prune.ratios=0.5",
        "Prune.layers=[1]",
        "Prune.skip_first=16",
        "Prune.skip_ratio=1",
        "Prune.skip_loss=-0.1",
        "Prune.loss_tolerance=1.1",
        "Prune.target=0.5",
        "Prune.target={macs: 0}",
        "Prune.target={params: 1}",
        "Prune.target={latency: 40%}",
        "Prune.target={flops: 0.5, params: 0.2}",
        "Prune.align=0",
        "Prune.min_channels=0",
        "Prune.distill.maps=-1",
        "Export.formats=[paddle, tensorrt]",
        "Export.formats=[onnx, onnx]",
        "Export.formats=[]",
        "Export.lite_python=[python3.10]",
        "Export.rewrite=1",
        "Export.runtime=tensorrt",
        "Export.threads=0",
        "Export.int8=once",
        "Export.int8_tolerance=1.1",
        "Prune.distill.fade=1.5",
        "Optimizer.ema.decay=1",
        "Optimizer.clip_norm_global=0",
        "Global.use_amp=1",
    ],
)
def test_values_out_of_bounds_are_refused(text):
    line = problem(MAIN, text)
    assert line.startswith(f"-o {text}: ") and "expected" in line


@pytest.mark.parametrize(
    "text",
    [
        "Optimizer.lr={name: Piecewise, decay_epochs: [2, 4], values: [0.1, 1e-2, 1e-3], warmup_epoch: 0.5}",
        "Optimizer.regularizer=",
        "Optimizer.clip_norm_global=5.0",
        "Loss.main_loss_type=BCELoss",
        "Metric.main_indicator=recall",
        "PostProcess.box_type=poly",
        "Prune.loss_tolerance=0",
        "Prune.criterion=taylor",
        "Prune.group_score=max",
        "Prune.min_channels=8",
        "Prune.skip_first=0",
        "Architecture.Backbone={name: MobileNetV3, scale: 1, model_name: small}",
        "Train.dataset.ratio_list=0.5",
        "Prune.distill={maps: 0, features: 0}",
        "Prune.distill=",
        "Export.formats=onnx",
        "Export.formats=",
        "Export={threads: 4, runtime: openvino}",
        "Optimizer.ema={}",
        "Optimizer.ema=",
        "Optimizer.regularizer={name: L2Decay, factor: 0}",
    ],
)
def test_values_at_the_edge_are_accepted(text):
    assert load_config(MAIN, [text]).tree["Global"]


@pytest.mark.parametrize(
    ("texts", "target"),
    [
        (["Prune.target={macs: 0.5}"], {"macs": 0.5}),
        (["Prune.target.flops=0.25"], {"macs": 0.25}),  # another word for the same
        (["Prune.target.macs=0.5", "Prune.target={params: 1e-1}"], {"params": 0.1}),
        (["Prune.target={macs: 0.5, latency: }"], {"macs": 0.5}),
        (["Prune.target.macs=0.5", "Prune.target="], None),
        ([], None),
    ],
    ids=["macs", "flops", "the last counts", "an empty one does not", "taken back", "none"],
)
def test_a_target_is_one_fraction_to_remove(texts, target):
    assert load_config(MAIN, texts).prune.target == target


def test_two_targets_are_named_and_a_misspelt_one_has_a_nearest(write):
    path = write("Prune: {target: {flops: 0.5, macs: 0.4}}\n")
    assert "config.yml: Prune.target: found flops and macs, expected one of macs, params, latency" in problem(path)
    assert "nearest valid key: Prune.target.macs" in problem(MAIN, "Prune.target.mac=0.5")
    assert "nearest valid key: Prune.target" in problem(MAIN, "Prune.traget={macs: 0.5}")


def test_a_key_of_another_optimizer_is_unknown():
    lines = problems(MAIN, "Optimizer.name=Momentum")
    assert ["Optimizer.beta1: unknown key of Momentum" in line for line in lines] == [True, False]
    assert "Optimizer.beta2: unknown key of Momentum" in lines[1]


def test_what_decides_nothing_is_dropped():
    config = load_config(MAIN, ["Architecture.Neck.use_asf=false", "Architecture.Head.in_channels=256"])
    assert config.section("Architecture") == load_config(MAIN).section("Architecture")


def test_all_problems_come_at_once(write):
    text = MAIN.read_text().replace("epoch_num: 1200", "epoch_nun: 1200").replace("k: 50", "k: -1")
    lines = problems(write(text), "Prune.align=x", "nonsense", "Loss.gamma=1")
    assert len(lines) == 5
    for part in ("Global.epoch_nun", "Architecture.Head.k", "-o Prune.align", "-o nonsense", "-o Loss.gamma"):
        assert sum(part in line for line in lines) == 1, (part, lines)


def test_a_fault_of_the_file_names_file_key_value_and_remedy(write):
    path = write("Global: {epoch_num: many}\nLoss: {name: DBLoss}\n")
    assert problem(path) == (
        f"{path}: Global.epoch_num: found 'many', expected a whole number of at least 0; "
        "set it there or with -o Global.epoch_num=..."
    )


def test_a_missing_key_is_named(write):
    lines = problems(write("Architecture: {model_type: det, algorithm: DB, Backbone: {scale: 0.5}}\n"))
    assert any("Architecture.Backbone.name: missing, expected MobileNetV3" in line for line in lines)
    assert any("Architecture.Neck: missing" in line for line in lines)


def test_unknown_sections_have_a_nearest(write):
    assert "nearest valid key: Optimizer" in problem(write("Optimiser: {name: Adam}\n"))


# Files


def test_a_missing_file_lists_the_nearest():
    line = problem(MAIN.with_name("det_mv3.yml"))
    assert "det_mv3.yml: not found" in line and "det_mv3_db.yml" in line


def test_a_missing_folder_is_said_to_be_missing(tmp_path):
    assert "the folder" in problem(tmp_path / "nowhere/x.yml")
    assert "no .yml file" in problem(tmp_path / "x.yml")


def test_a_folder_is_not_a_config():
    line = problem(MAIN.parent)
    assert "is a folder" in line and "det_mv3_db.yml" in line


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "holds nothing"),
        (b"# only a comment\n", "holds nothing"),
        (b"- a\n- b\n", "holds a list"),
        (b"just words", "holds a str"),
        (b"\x7fELF\x00\x01\x02\xff\xfe", "not text"),
        (b"Global: {save_model_dir: \xe9t\xe9}\n", "not text"),
        (b"Global:\n  use_gpu: [true\n  epoch_num: 3\n", "line 3, column 12: not valid YAML"),
        (b"Global:\n\tuse_gpu: true\n", "line 2, column 1"),
        (b"Global: {}\n---\nGlobal: {}\n", "line 2"),
        (b"Global: {seed: *nowhere}\n", "line 1, column 16"),
        (
            b"Global:\n  seed: 1\n  use_gpu: true\n  seed: 2\n",
            "line 4, column 3: the key 'seed' is given twice (first on line 2)",
        ),
        (b"Global: {}\nLoss:\n\nGlobal: {}\n", "line 4, column 1: the key 'Global' is given twice (first on line 1)"),
        (b"Global: &g\n  wandb: *g\n", "contains itself"),
        (
            b"Global: {save_model_dir: 2026-02-01}\n",
            "line 1, column 26: '2026-02-01' is read as a date; put text in quotes",
        ),
        (b"Global: {save_model_dir: 2026-02-31}\n", "put text in quotes"),
        (b"Global: {debug: .nan}\n", "line 1, column 17: '.nan' is not a finite number"),
        (b"Global: {debug: 1.0e+999}\n", "not a finite number"),
        (b"Global: {1: 2}\n", "the key '1' is not text"),
        (b"Global: {? [a] : 2}\n", "not text"),
        (b"wandb: " + b"[" * 200 + b"]" * 200, "deep"),
        (b"[" * 20000, "deep"),
        (b"Global: {}\n" + b"#" * (1 << 20), "1,048,587 bytes, expected at most 1,048,576"),
    ],
    ids=lambda value: value[:24] if isinstance(value, bytes) else None,
)
def test_a_file_that_is_no_config_gives_one_line(write, content, expected):
    path = write(content)
    lines = problems(path)
    assert expected in lines[0]
    assert lines[0].startswith(str(path))


def test_aliases_cannot_multiply_without_bound(write):
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "aliases written out" in problem(write("\n".join(["a0: &a0 [x]", *levels])))


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!run"])
def test_hostile_yaml_is_refused_and_not_run(write, tmp_path, tag):
    mark = tmp_path / "was_here"
    argument = "" if "name" in tag else f" ['touch {mark}']"
    line = problem(write(f"Global:\n  save_model_dir: {tag}{argument}\n"))
    assert "line 2, column 19" in line and "refused" in line
    assert not mark.exists()


def test_an_unreadable_file_is_named(write, monkeypatch):
    path = write("Global: {}\n")

    def denied(path, most):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(yamlfile, "read_file", denied)
    assert "cannot be read: Permission denied" in problem(path)
