"""Recognition as a task: configuration, losses, distillation, labels to trace with, calibration."""

from __future__ import annotations

import pickle

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from checkout import require_zoo
from lines import HEIGHT, LineHead, LineNeck, LineNet, numbers, own_networks, recogniser, write_lines, write_tree

from ocrslim.config import load_config
from ocrslim.errors import ConfigError, WeightsError
from ocrslim.models import OcrModel
from ocrslim.pruning import Cut, Plan
from ocrslim.tasks import task_of
from ocrslim.tasks.recognition.distillation import reading_loss, sequence_loss
from ocrslim.tasks.recognition.loss import CTCLoss
from ocrslim.tasks.recognition.pixels import calibrated
from ocrslim.training.distillation import Distillation

__all__ = ["own_networks"]


@pytest.fixture
def config(tmp_path):
    label = write_lines(tmp_path / "lines", numbers(4, 1))
    tree = recogniser(tmp_path, label, label)
    return lambda *words, **sections: load_config(write_tree(tmp_path / "rec.yml", {**tree, **sections}), list(words))


def network(classes=11, channels=8):
    paddle.seed(0)
    backbone = LineNet(channels=channels)
    neck = LineNeck(backbone.out_channels, 12)
    return OcrModel(task_of("rec"), backbone, LineHead(12, classes), neck)


def test_the_head_has_the_dictionarys_classes(config):
    assert config().get("Architecture.Head.out_channels") == 11
    assert config("Global.use_space_char=true").get("Architecture.Head.out_channels") == 12


def test_a_dictionary_that_is_missing_is_named_with_the_configuration(config):
    with pytest.raises(ConfigError, match=r"rec.yml: Global.character_dict_path: gone.txt not found; looked in the"):
        config("Global.character_dict_path=gone.txt")


def test_a_dictionary_that_is_missing_is_the_only_fault(repo):
    require_zoo()
    with pytest.raises(ConfigError) as caught:
        load_config(repo / "configs/rec/PP-OCRv3/PP-OCRv3_mobile_rec.yml", ["Global.character_dict_path=gone.txt"])
    assert len(caught.value.problems) == 1


def test_a_network_for_another_dictionary_is_refused_with_both_numbers(config):
    settings = config()
    read = settings.task.post_process(settings.section("PostProcess"), settings.section("Global"))
    with pytest.raises(WeightsError, match=r"tells 97 classes apart, and .*digits.txt make 11 with the blank"):
        read(np.zeros((1, 4, 97), np.float32), np.zeros(2))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        pytest.param("Metric.main_indicator=hmean", "expected one of acc, norm_edit_dis", id="metric"),
        pytest.param("Eval.dataset.transforms.RecResizeImg.image_shape=[32,100]", "channels, height and", id="shape"),
        pytest.param("Loss.name=", "Loss.name", id="loss"),
    ],
)
def test_sections_are_checked(config, word, expected):
    with pytest.raises(ConfigError) as caught:
        config(word)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("transforms", "expected"),
    [
        pytest.param([{"DecodeImage": None}], "KeepKeys is missing", id="no-keys"),
        pytest.param([{"DecodeImage": None}, {"KeepKeys": {"keep_keys": ["image", "label"]}}], "encoder", id="no-code"),
        pytest.param(
            [
                {"DecodeImage": None},
                {"CTCLabelEncode": None},
                {"RecResizeImg": {"image_shape": [3, 32, 96]}},
                {"KeepKeys": {"keep_keys": ["label", "image"]}},
            ],
            "found 'label' in front, expected image",
            id="order",
        ),
    ],
)
def test_transforms_that_cannot_work_are_named(config, transforms, expected):
    faults = task_of("rec").schema.dataset_faults({"transforms": transforms, "name": "SimpleDataSet"}, "Train")
    assert any(expected in fault for _, fault in faults)


def test_the_task_goes_to_other_processes(config):
    task = config().task
    task.target({}, type("S", (), {"label": "12"}))
    there = pickle.loads(pickle.dumps(task))
    assert there.free_shape == (-1, 3, HEIGHT, -1) and there.target({}, type("S", (), {"label": "1?"})) == "1"


def ctc_by_enumeration(probabilities, label):
    """Return -log of the probability that the steps spell `label`, over all paths."""
    import itertools

    total = 0.0
    for path in itertools.product(range(probabilities.shape[1]), repeat=len(probabilities)):
        merged = [letter for letter, _ in itertools.groupby(path) if letter]
        if merged == list(label):
            total += np.prod([probabilities[step, letter] for step, letter in enumerate(path)])
    return -np.log(total)


def test_the_loss_is_minus_the_log_of_all_paths_that_spell_the_text():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 5, 4)).astype(np.float32)
    labels, lengths = [[1, 2, 2], [3, 0, 0]], [3, 1]
    probabilities = F.softmax(paddle.to_tensor(logits), axis=2).numpy()
    expected = [ctc_by_enumeration(probabilities[n], labels[n][: lengths[n]]) for n in range(2)]
    given = [paddle.to_tensor(value) for value in (logits, np.array(labels), np.array(lengths))]
    assert float(CTCLoss()(*given)) == pytest.approx(np.mean(expected), rel=1e-5)
    focal = [loss * (1 - np.exp(-loss)) ** 2 for loss in expected]
    assert float(CTCLoss(use_focal_loss=True)(*given)) == pytest.approx(np.mean(focal), rel=1e-5)


def test_the_loss_takes_what_networks_give():
    task = task_of("rec")
    loss = task.loss({"name": "CTCLoss"})
    logits = paddle.randn([2, 8, 5])
    batch = [paddle.zeros([2, 3, 32, 96]), paddle.to_tensor([[1, 2], [3, 0]]), paddle.to_tensor([2, 1])]
    forms = [logits, (paddle.zeros([2, 8, 3]), logits), {"ctc": logits, "ctc_neck": logits, "gtc": logits}]
    found = {float(loss(task.predictions(form), batch)["loss"]) for form in forms}
    assert len(found) == 1


def test_labels_go_to_the_networks_that_take_them():
    given = {}
    batch = [paddle.zeros([1]), paddle.ones([1]), paddle.ones([2])]

    def model(images, **others):
        given.update(others)
        return images

    task_of("rec").configured({"Architecture": {"algorithm": "CRNN"}}).forward(model, batch)
    assert given == {}
    task_of("rec").configured({"Architecture": {"algorithm": "SVTR_LCNet"}}).forward(model, batch)
    assert len(given["data"]) == 2 and given["data"][1] is batch[2]


@pytest.mark.parametrize("algorithm", ["SRN", "RobustScanner"])
def test_networks_that_infer_with_more_than_an_image_are_refused(algorithm):
    """They were built, and died of a NoneType in the trace."""
    (line,) = task_of("rec").complete({"Architecture": {"algorithm": algorithm}})
    assert f"Architecture.algorithm: {algorithm} reads" in line and "the image alone" in line
    assert task_of("rec").complete({"Architecture": {"algorithm": "SAR"}}) == []


def test_features_that_no_loss_reads_are_no_output():
    """Returned in training, they kept every channel of PP-OCRv6 tiny's last stage, a quarter of its MACs."""
    heads = {"ctc": paddle.zeros([1]), "gtc": paddle.zeros([1])}
    found = task_of("rec").forward(lambda images: {**heads, "ctc_neck": paddle.ones([1])}, [paddle.zeros([1])])
    assert found == heads


@pytest.mark.parametrize(
    ("multi", "keys"),
    [
        ({"gtc_encode": "NRTRLabelEncode"}, ["image", "label_ctc", "label_gtc", "length", "valid_ratio"]),
        (None, ["image", "label_ctc", "label_sar", "length", "valid_ratio"]),
    ],
    ids=["nrtr", "sar"],
)
@pytest.mark.parametrize("data_set", ["SimpleDataSet", "MultiScaleDataSet"])
def test_labels_to_trace_with_are_those_of_a_batch(config, multi, keys, data_set):
    settings = config()
    tree = settings.tree
    resize = [{"RecResizeImg": {"image_shape": [3, 48, 320]}}] if data_set == "SimpleDataSet" else []
    tree["Train"]["dataset"] |= {
        "name": data_set,
        "transforms": [
            {"DecodeImage": {"img_mode": "BGR"}},
            {"RecConAug": {"prob": 0.5, "ext_data_num": 2, "image_shape": [48, 320, 3], "max_text_length": 8}},
            {"RecAug": None},
            {"MultiLabelEncode": multi},
            *resize,
            {"KeepKeys": {"keep_keys": keys}},
        ],
    }
    tree["Architecture"]["algorithm"] = "SVTR_LCNet"
    found = settings.task.probe_labels(tree)
    assert [array.shape for array in found] == [(1, 8), (1, 8), (1,), (1,)]
    assert found[0][0].tolist() == [1, 2, 3, 4, 0, 0, 0, 0] and found[2].tolist() == [4]
    assert all(np.array_equal(a, b) for a, b in zip(found, settings.task.probe_labels(tree))), "no chance in it"


@pytest.mark.parametrize(
    ("transforms", "told"),
    [
        ([{"CTCLabelEncode": None}, {"KeepKeys": {"keep_keys": ["image", "valid_ratio"]}}], "KeepKeys .*'valid_ratio'"),
        ([{"RecResizeImg": {"image_shape": [3, 48, 320]}}], "RecResizeImg fails"),
        ([{"RecResizeImg": {"shape_of_image": [3, 48, 320]}}], "RecResizeImg fails .*image_shape"),
    ],
    ids=["a key that nothing makes", "no image yet", "not to be built"],
)
def test_transforms_that_give_no_labels_are_named(config, transforms, told):
    settings = config()
    settings.tree["Train"]["dataset"]["transforms"] = transforms
    settings.tree["Architecture"]["algorithm"] = "SVTR_LCNet"
    with pytest.raises(ConfigError, match=rf"^Train\.dataset\.transforms: {told}.*configs/rec$"):
        settings.task.probe_labels(settings.tree)


def test_networks_without_labels_need_none(config):
    assert config().task.probe_labels(config().tree) == ()


def test_a_line_is_padded_to_the_usual_width_or_cut_between_characters():
    short = np.ones((1, 3, 8, 40), np.float32)
    padded = calibrated(short, 64)
    assert padded.shape == (1, 3, 8, 64) and (padded[..., :40] == 1).all() and (padded[..., 40:] == 0).all()
    long = np.full((1, 3, 8, 100), 0.9, np.float32)
    long[:, :, 2:6, ::2] = -0.9  # ink everywhere
    long[..., 52:58] = 0.9  # but here
    cut = calibrated(long, 64)
    end = int(np.flatnonzero(np.abs(cut).sum(axis=(0, 1, 2)))[-1]) + 1
    assert cut.shape == (1, 3, 8, 64) and 52 <= end <= 58
    np.testing.assert_array_equal(cut[..., :end], long[..., :end])


def test_a_student_like_its_teacher_has_nothing_to_learn_and_another_has():
    logits = paddle.randn([2, 6, 5])
    assert float(sequence_loss(logits, F.softmax(logits, axis=-1))) == pytest.approx(0, abs=1e-5)
    other = F.softmax(paddle.randn([2, 6, 5]), axis=-1)
    expected = (other * (other.log() - F.log_softmax(logits, axis=-1))).sum(axis=[1, 2]).mean()
    assert float(sequence_loss(logits, other)) == pytest.approx(float(expected), rel=1e-5)


def spikes(*texts, steps=8, classes=5):
    """Probabilities with a sure class for each step; 0 is the blank."""
    found = np.full((len(texts), steps, classes), 1e-4, np.float32)
    for text, path in enumerate(texts):
        for step in range(steps):
            found[text, step, path[step] if step < len(path) else 0] = 1 - 1e-4 * (classes - 1)
    return paddle.to_tensor(found)


def test_a_reading_is_learnt_wherever_its_spikes_stand():
    teacher = spikes([0, 1, 1, 0, 1, 2], [0, 0, 3])
    moved, other = spikes([1, 0, 1, 1, 2, 2], [3, 3, 3]), spikes([0, 1, 1, 1, 1, 2], [0, 0, 4])
    assert float(reading_loss(moved.log(), teacher)) < 0.01 < 1 < float(reading_loss(other.log(), teacher))
    assert float(sequence_loss(moved.log(), teacher)) > 10  # step by step they differ


def test_a_reading_counts_as_the_logarithm_of_its_loss_and_an_empty_one_as_nothing():
    teacher, logits = spikes([0, 1, 2], []), paddle.randn([2, 8, 5])
    logits.stop_gradient = False
    labels, lengths = paddle.to_tensor([[1, 2]], dtype="int32"), paddle.to_tensor([2])
    steps = paddle.to_tensor([8])
    alone = F.ctc_loss(F.log_softmax(logits[:1], -1).transpose([1, 0, 2]), labels, steps, lengths, reduction="none")
    found = reading_loss(logits, teacher)
    assert float(found) == pytest.approx(float(paddle.log1p(alone).sum()) / 2, rel=1e-5)
    found.backward()
    assert np.isfinite(logits.grad.numpy()).all() and not logits.grad.numpy()[1].any() and logits.grad.numpy()[0].any()
    assert float(reading_loss(logits, spikes([], []))) == 0


def test_distillation_compares_what_the_last_layer_reads():
    teacher, student = network(), network()
    student.set_state_dict(teacher.state_dict())
    student.train()
    task = task_of("rec")
    parts = task.distilled({}, student)
    assert parts.features == "" and parts.reader == ("head.fc.weight", 0)
    images = paddle.randn([2, 3, HEIGHT, 64])
    with Distillation(teacher, student, None, {"maps": 1, "features": 1}, parts) as distillation:
        student.eval()
        student.head.training = True  # logits, with the norms of an evaluation
        student.head.fc.training = True
        found = distillation.losses(images, task.predictions(student(images)))
    assert {name: round(float(loss), 4) for name, loss in found.items()} == {
        "loss_distill_maps": 0,
        "loss_distill_features": 0,
    }


def test_distillation_of_a_pruned_neck_compares_the_channels_that_are_left():
    teacher = network()
    paddle.seed(1)
    backbone = LineNet(channels=8)
    student = OcrModel(task_of("rec"), backbone, LineHead(9, 11), LineNeck(backbone.out_channels, 9))
    kept = [0, 1, 2, 4, 5, 6, 8, 9, 10]
    plan = Plan({}, (Cut("head.fc.weight", 0, 12, tuple(kept)),))
    parts = task_of("rec").distilled({}, student)
    images = paddle.randn([2, 3, HEIGHT, 64])
    seen = []
    teacher.eval()
    teacher.head.fc.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with Distillation(teacher, student, plan, {"features": 1}, parts) as distillation:
        hook = student.head.fc.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        found = distillation.losses(images, task_of("rec").predictions(student(images)))
        hook.remove()
    own, whole = seen[0].numpy(), seen[1].numpy()[..., kept]
    distance = ((own - whole) ** 2).sum(axis=(1, 2)) / (whole**2).sum(axis=(1, 2))
    assert float(found["loss_distill_features"]) == pytest.approx(distance.mean(), rel=1e-4)


def test_networks_that_do_not_end_in_ctc_are_not_distilled():
    assert task_of("rec").distilled({}, LineNet()) is None and task_of("cls").distilled({}, LineNet()) is None


def test_predictions_for_people():
    from ocrslim.tasks.recognition import Reading

    task = task_of("rec")
    assert task.to_json(Reading("a中", 0.98765)) == {"text": "a中", "score": 0.9877}
    assert task.describe_predictions([Reading("a", 1.0), Reading("", 0.0)]) == "1 texts"
    pixels = np.full((20, 60, 3), 7, np.uint8)
    drawn = task.draw(pixels, Reading("a long text that is wider than its image", 0.5))
    assert (drawn[:20, :60] == 7).all() and drawn.shape[1] > 60 and drawn.dtype == np.uint8


def test_an_export_brings_its_dictionary(config):
    from ocrslim.export import client_settings

    found = client_settings(config("Global.use_space_char=true"))
    assert found["PostProcess"] == {"name": "CTCLabelDecode", "character_dict": list("0123456789")}
    assert found["Global"]["model_name"] == "PP-OCRv4_mobile_rec"


def test_exports_name_the_encoder_that_paddleocr_3_knows():
    image, resize = {"DecodeImage": {"img_mode": "BGR"}}, {"RecResizeImg": {"image_shape": [3, 48, 320]}}
    keys = {"KeepKeys": {"keep_keys": ["image", "label", "length"]}}
    task = task_of("rec")
    first, encoder, second, last = task.client_transforms([image, {"CTCLabelEncode": None}, resize, keys])
    assert (first, second) == (image, resize)
    assert encoder == {"MultiLabelEncode": {"gtc_encode": "NRTRLabelEncode"}}
    assert last["KeepKeys"]["keep_keys"][:2] == ["image", "label_ctc"]
    others = [image, {"AttnLabelEncode": None}, resize, keys]
    assert task.client_transforms(others) == others
