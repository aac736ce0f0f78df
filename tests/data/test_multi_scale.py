"""Batches of several image sizes, as PaddleOCR's MultiScaleSampler makes them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from checkout import require_zoo
from lines import numbers, own_networks, recogniser, write_lines, write_tree
from waiting import PATIENCE

from ocrslim.config import load_config
from ocrslim.data import scan, train_loader
from ocrslim.data.multi_scale import Scale, multi_scale_batches, scales_of
from ocrslim.errors import ConfigError
from ocrslim.ppocr import imaug

__all__ = ["own_networks"]

SAMPLER = {
    "name": "MultiScaleSampler",
    "scales": [[96, 32], [96, 48], [96, 64]],
    "first_bs": 8,
    "fix_bs": False,
    "divided_factor": [8, 16],
    "is_training": True,
}
THEIRS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ppocr.data.multi_scale_sampler import MultiScaleSampler
import numpy as np
options = json.load(sys.stdin)
class Source:
    data_idx_order_list, ds_width, seed = list(range(100)), False, 1
    def __len__(self):
        return 100
del options["name"]
print(json.dumps([[(w, h) for w, h, _, _ in batch] for batch in MultiScaleSampler(Source(), **options)]))
"""


@pytest.fixture
def lines(tmp_path):
    """A configuration with a sampler."""
    label = write_lines(tmp_path / "lines", numbers(40, 1))
    path = write_tree(tmp_path / "rec.yml", recogniser(tmp_path, label, label))

    def config(sampler=SAMPLER, ds_width=False, **loader):
        found = load_config(path)
        tree = json.loads(json.dumps(found.tree))
        tree["Train"]["sampler"] = sampler
        tree["Train"]["loader"] |= loader
        dataset = tree["Train"]["dataset"]
        dataset |= {"name": "MultiScaleDataSet", "ds_width": ds_width}
        dataset["transforms"] = [entry for entry in dataset["transforms"] if "RecResizeImg" not in entry]
        return replace(found, tree=tree)

    return config


def epoch(config, labelled, number=0, **arguments):
    return [[part.numpy() for part in batch] for batch in train_loader(config, labelled, number, **arguments)]


def equal(first, second):
    return len(first) == len(second) and all(np.array_equal(a, b) for x, y in zip(first, second) for a, b in zip(x, y))


def test_sizes_are_multiples_and_batches_hold_as_many_pixels_as_the_first():
    assert scales_of(SAMPLER) == [Scale(96, 32, 8), Scale(96, 48, 5), Scale(96, 64, 4)]
    assert scales_of({**SAMPLER, "fix_bs": True})[2] == Scale(96, 64, 8)
    assert scales_of({**SAMPLER, "scales": [[101, 47]]}) == [Scale(96, 32, 12)]
    assert scales_of({**SAMPLER, "is_training": False}) == [Scale(96, 32, 8)]


def test_batches_have_the_sizes_of_paddleocrs():
    command = [sys.executable, "-W", "ignore", "-c", THEIRS, str(require_zoo())]
    done = subprocess.run(command, input=json.dumps(SAMPLER), capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    theirs = Counter(
        (width, height, len(batch)) for batch in json.loads(done.stdout.splitlines()[-1]) for width, height in batch[:1]
    )
    own = multi_scale_batches(range(100), None, SAMPLER, (1, 0))
    found = Counter((batch.size[1], batch.size[0], len(batch.indices)) for batch in own)
    assert set(found) == set(theirs) and not found - theirs, "PaddleOCR completes the last round"


def test_every_image_has_its_turn_and_few_have_two():
    batches = multi_scale_batches(range(100, 200), None, SAMPLER, (7, 3))
    seen = Counter(index for batch in batches for index in batch.indices)
    assert set(seen) == set(range(100, 200)) and max(seen.values()) <= 2 and sum(seen.values()) < 108


def test_an_epoch_depends_on_seed_and_number():
    first = multi_scale_batches(range(100), None, SAMPLER, (7, 3))
    assert multi_scale_batches(range(100), None, SAMPLER, (7, 3)) == first
    assert multi_scale_batches(range(100), None, SAMPLER, (7, 4)) != first
    assert multi_scale_batches(range(100), None, SAMPLER, (8, 3)) != first


def test_processes_share_batches_of_the_same_sizes():
    parts = [multi_scale_batches(range(100), None, SAMPLER, (7, 3), (rank, 2)) for rank in range(2)]
    assert [batch.size for batch in parts[0]] == [batch.size for batch in parts[1]]
    seen = Counter(index for part in parts for batch in part for index in batch.indices)
    assert set(seen) == set(range(100)) and [len(b.indices) for b in parts[0]] == [len(b.indices) for b in parts[1]]


def test_images_of_a_similar_form_are_together():
    ratios = np.random.default_rng(0).permutation(np.linspace(0.3, 20, 64)).tolist()
    sampler = {**SAMPLER, "scales": [[96, 32]]}
    batches = multi_scale_batches(range(64), ratios, sampler, (7, 3))
    for batch in batches:
        own = [ratios[index] for index in batch.indices]
        assert np.ptp(own) < 3 and batch.size == (32, 32 * max(1, round(min(np.mean(own), 480 / 32))))
    assert len({batch.size for batch in batches}) > 4 and max(batch.size[1] for batch in batches) == 480


@pytest.mark.parametrize("ds_width", [False, True])
def test_batches_are_the_same_in_workers_and_after_a_resume(lines, ds_width):
    config = lines(ds_width=ds_width)
    labelled = scan(config, "Train")
    whole = epoch(config, labelled)
    assert len({batch[0].shape for batch in whole}) > 1
    assert equal(epoch(lines(ds_width=ds_width, num_workers=2), labelled), whole)
    assert equal(epoch(config, labelled, skip_batches=3), whole[3:])
    assert not equal(epoch(config, labelled, 1), whole)


def test_images_are_resized_as_paddleocr_does(lines, tmp_path):
    config = lines()
    labelled = scan(config, "Train")
    batch = train_loader(config, labelled, 0)
    plan = batch._batches[0]
    images = next(iter(batch))[0].numpy()
    sample = labelled.samples[plan.indices[0]]
    import cv2

    data = {"image": cv2.imread(str(sample.path))}
    expected = imaug.RecResizeImg(image_shape=[3, *plan.size])(data)["image"]
    np.testing.assert_array_equal(images[0], expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"scale": [[96, 32]]}, "Train.sampler.scale: Extra inputs", id="unknown"),
        pytest.param({"scales": [[96]]}, "Train.sampler.scales.0", id="no-size"),
        pytest.param({"first_bs": 0}, "Train.sampler.first_bs", id="no-images"),
        pytest.param({"scales": [[96, 8]]}, "found [96, 8], expected at least divided_factor, [8, 16]", id="too-low"),
    ],
)
def test_a_sampler_that_means_nothing_is_named(change, expected):
    with pytest.raises(ConfigError) as caught:
        scales_of({**SAMPLER, **change})
    assert expected in str(caught.value)


def augmented(config):
    """Put PaddleOCR's augmentations in front of the encoder, as its own configurations do."""
    dataset = config.tree["Train"]["dataset"]
    decode, encode, *rest = dataset["transforms"]
    joined = {"prob": 1.0, "ext_data_num": 2, "image_shape": [32, 320, 3], "max_text_length": 8}
    dataset["transforms"] = [decode, {"RecConAug": joined}, {"RecAug": None}, encode, *rest]
    dataset["ext_op_transform_idx"] = 1
    return config


def test_augmented_lines_depend_on_seed_epoch_and_place_alone(lines):
    config = augmented(lines())
    labelled = scan(config, "Train")
    whole = epoch(config, labelled)
    assert max(batch[2].max() for batch in whole) > 4, "texts of several images are joined"
    assert equal(epoch(augmented(lines(num_workers=2)), labelled), whole)
    assert equal(epoch(config, labelled, skip_batches=2), whole[2:])
    assert not equal(epoch(lines(), labelled), whole)
