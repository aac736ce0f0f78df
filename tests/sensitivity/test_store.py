"""What a folder holds: taken where it is of the same problem, refused with the difference named where it is not."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest
from detection import DETECTION

from ocrslim.errors import ArtifactError
from ocrslim.formats.sensitivity_table import read_sensitivities, write_sensitivities
from ocrslim.pruning.loss_rules import loss_of
from ocrslim.sensitivity.results.identity import Identity
from ocrslim.sensitivity.results.journal import Entry, Journal
from ocrslim.sensitivity.results.store import open_measurements
from ocrslim.sensitivity.search.search import AdaptiveSearch, ExactSearch
from ocrslim.tasks.detection.metric import ImageCounts
from ocrslim.utils.files import read_json

KEYS = ["neck.in2_conv.weight", "backbone.stage2.2.expand_conv.conv.weight", "backbone.conv.conv.weight"]
NECK, EXPAND = "neck.in2_conv.weight", "conv10_expand_weights"
HASHES = {"weights": "w", "architecture": "a", "criterion": "fpgm", "evaluation data": "d"}
BASELINE = [ImageCounts(8, 8, 8), ImageCounts(4, 4, 3), ImageCounts(6, 5, 5)]
WORSE = [ImageCounts(8, 8, 4), ImageCounts(4, 2, 2), ImageCounts(6, 5, 3)]
FACTS = {"mode": "exact", "tolerance": 0.02, "seconds": 1.5}


def identity(metric="hmean", images=3, **hashes):
    graph = SimpleNamespace(groups=dict.fromkeys(KEYS, 1), unprunable={"head.binarize.conv3.weight": "the output"})
    return Identity(graph, {"Backbone": {"name": "MobileNetV3"}}, DETECTION, metric, images, {**HASHES, **hashes})


def opened(folder, known=None, finished=False, **options):
    return open_measurements(folder, known or identity(), lambda _: finished, **options)


def save(measured, ratios=(0.3,)):
    layers = {layer for layer, _ in measured.counts if layer}
    measured.save(searches(measured, layers, ratios), **FACTS)


def searches(measured, layers, ratios, kind=ExactSearch):
    found = {layer: kind(ratios, measured.baseline, measured.identity.ratio, 0.02) for layer in sorted(layers)}
    for layer, search in found.items():
        for ratio in ratios:
            search.add(ratio, 0, measured.counts.get((layer, ratio), []))
    return found


@pytest.fixture
def folder(tmp_path):
    """The unpruned network, one whole point and one that was broken off."""
    measured = opened(tmp_path)
    measured.add(None, 0.0, 0, BASELINE)
    measured.add(NECK, 0.3, 0, WORSE)
    measured.add(EXPAND, 0.3, 0, WORSE[:2])
    save(measured)
    return tmp_path


def test_only_points_on_all_images_are_in_the_table_and_their_loss_is_paddleslims(folder):
    found = opened(folder)
    hmean = [2 * matched / (18 + pred) for pred, matched in ((17, 16), (15, 9))]
    assert found.table == {NECK: {0.3: pytest.approx(loss_of(*hmean))}}
    assert found.table == read_sensitivities(folder / "sen.pickle")
    assert found.counts[EXPAND, 0.3] == WORSE[:2], "what was broken off is not lost"


def test_what_was_broken_off_goes_on_at_the_next_image(folder):
    found = opened(folder)
    found.add(EXPAND, 0.3, 2, WORSE[2:])
    assert found.table[EXPAND] == found.table[NECK]
    assert list(opened(folder).table) == [NECK, EXPAND], "in the network's order"


def test_the_table_depends_on_the_counts_alone_not_on_how_they_came(folder, tmp_path):
    (tmp_path / "other").mkdir()
    other = opened(tmp_path / "other")
    for start in (0, 1, 2):
        other.add(NECK, 0.3, start, WORSE[start : start + 1])
    assert other.table == {}, "no loss without a baseline"
    other.add(None, 0.0, 0, BASELINE)
    save(other)
    assert (tmp_path / "other/sen.pickle").read_bytes() == (folder / "sen.pickle").read_bytes()


def test_a_baseline_that_was_broken_off_is_none(tmp_path):
    measured = opened(tmp_path)
    measured.add(None, 0.0, 0, BASELINE[:2])
    assert opened(tmp_path).baseline == []


def test_the_record_says_what_was_measured_and_of_what(folder):
    record = read_json(folder / "sen.json", "")
    assert record["hashes"] == HASHES and record["images"] == 3 and record["metric"] == "hmean"
    assert record["baseline"]["hmean"] == pytest.approx(2 * 16 / 35)
    assert record["unprunable"] == {"head.binarize.conv3.weight": "the output"}
    how = {name: layer["points"]["0.3"] for name, layer in record["layers"].items()}
    assert {name: (p["how"], p["images"]) for name, p in how.items()} == {NECK: ("measured", 3), EXPAND: ("sampled", 2)}
    assert record["layers"][NECK]["settled"] and not record["layers"][EXPAND]["settled"]
    assert record["mode"] == "exact" and record["seconds"] == 1.5


def test_layers_that_another_run_measured_stay_in_the_record(folder):
    found = opened(folder)
    found.save(searches(found, [EXPAND], [0.3]), **FACTS)
    assert set(read_json(folder / "sen.json", "")["layers"]) == {NECK, EXPAND}


def test_an_adaptive_search_marks_what_it_infers(folder):
    found = opened(folder)
    found.save(searches(found, [NECK], [0.1, 0.3, 0.6], AdaptiveSearch), **FACTS)
    points = read_json(folder / "sen.json", "")["layers"][NECK]["points"]
    assert [points[ratio]["how"] for ratio in ("0.1", "0.3", "0.6")] == ["inferred", "measured", "inferred"]
    assert points["0.6"]["low"] < points["0.6"]["high"] and points["0.3"]["low"] == points["0.3"]["high"]
    assert read_sensitivities(folder / "sen.pickle") == {NECK: {0.3: points["0.3"]["loss"]}}


CHANGED = {
    **{what: (identity(**{what: "other"}), f"other {what} than") for what in HASHES},
    "metric": (identity(metric="recall"), "metric hmean, this run has recall"),
    "images": (identity(images=4), "images 3, this run has 4"),
}


@pytest.mark.parametrize("record", [True, False], ids=["with-record", "journal-alone"])
@pytest.mark.parametrize("what", CHANGED)
def test_measurements_of_something_else_are_refused_and_left_alone(folder, what, record):
    if not record:
        (folder / "sen.json").unlink()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    known, says = CHANGED[what]
    with pytest.raises(ArtifactError, match=rf"{says}.*save_model_dir=PATH.*overwrite=true"):
        opened(folder, known)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    fresh = opened(folder, known, overwrite=True)
    assert not fresh.counts and not list(folder.iterdir())


def test_a_journal_with_layers_of_another_network_is_refused(folder):
    Journal(folder / "sen.jsonl", {}, DETECTION).append(Entry("neck.other.weight", 0.3, 0, WORSE))
    with pytest.raises(ArtifactError, match=r"sen\.jsonl: neck\.other\.weight is not a prunable layer"):
        opened(folder)


def test_a_table_that_the_journal_does_not_explain_is_not_written_over(folder):
    (folder / "sen.jsonl").unlink()
    with pytest.raises(ArtifactError, match=rf"sen\.pickle: has points of {NECK} that are not in .*sen\.jsonl"):
        opened(folder)
    write_sensitivities(folder / "sen.pickle", {"conv2d_57.w_0": {0.2: 0.0}})
    with pytest.raises(ArtifactError, match=r"conv2d_57\.w_0 is a name that Paddle gives by itself"):
        opened(folder)
    write_sensitivities(folder / "sen.pickle", {})
    assert not opened(folder).counts, "an empty table is no reason to refuse"


@pytest.mark.parametrize("name", ["sen.json", "sen.jsonl", "sen.pickle"])
def test_a_damaged_file_is_refused_by_name_and_overwritten_when_asked(folder, name):
    (folder / name).write_bytes(b"[1, 2\n" + (folder / name).read_bytes()[3:])
    with pytest.raises(ArtifactError, match=name):
        opened(folder)
    assert not opened(folder, overwrite=True).counts


def test_without_the_derived_files_the_journal_is_enough(folder):
    before = (folder / "sen.pickle").read_bytes()
    for name in ("sen.pickle", "sen.json"):
        (folder / name).unlink()
    found = opened(folder)
    save(found)
    assert (folder / "sen.pickle").read_bytes() == before


def test_overwriting_replaces_what_is_finished_and_continues_what_is_not(folder):
    (folder / "sen.png").write_bytes(b"old picture")
    (folder / "notes.txt").write_text("mine")
    assert opened(folder, finished=False, overwrite=True).counts
    assert not opened(folder, finished=True, overwrite=True).counts
    assert [path.name for path in folder.iterdir()] == ["notes.txt"], "nothing of it is left, nothing else touched"


def test_journals_of_several_processes_are_read_together(folder):
    second = opened(folder, journal="sen.rank1.jsonl")
    first = opened(folder)
    second.add(EXPAND, 0.3, 2, WORSE[2:])
    assert list(first.table) == [NECK]
    first.refresh()
    assert first.table == second.table and set(first.table) == {NECK, EXPAND}
    (folder / "sen.rank2.jsonl").touch()  # of one that is just beginning
    first.refresh()
    assert set(opened(folder).table) == {NECK, EXPAND}


def with_groups(**groups):
    """The identity of a run whose channel groups are others than before, or the same."""
    known = identity(**{"channel groups": str(sorted(groups.items()))})
    known.graph.groups.update({key: groups.get(place, 1) for place, key in zip(("neck", "expand", "first"), KEYS)})
    return known


@pytest.fixture
def traced_otherwise(tmp_path):
    """Measured by a run that had found another group for the neck."""
    measured = opened(tmp_path, with_groups(neck=2))
    measured.add(None, 0.0, 0, BASELINE)
    measured.add(NECK, 0.3, 0, WORSE)
    measured.add(EXPAND, 0.3, 0, WORSE)
    save(measured)
    return tmp_path


def test_layers_of_other_channel_groups_are_measured_anew_and_the_rest_is_not_lost(traced_otherwise, caplog):
    found = opened(traced_otherwise, with_groups())
    assert set(found.table) == {EXPAND} and f"other channel groups of {NECK} than this run's" in caplog.text
    found.add(NECK, 0.3, 0, BASELINE)
    save(found)
    again = opened(traced_otherwise, with_groups())
    assert again.counts[NECK, 0.3] == BASELINE and again.counts[EXPAND, 0.3] == WORSE
    assert len(list(traced_otherwise.glob("sen*.jsonl"))) == 2, "no journal holds counts of two kinds"
    assert opened(traced_otherwise, with_groups(neck=2)).counts[NECK, 0.3] == WORSE


def test_where_only_layers_that_were_not_measured_differ_nothing_is_measured_anew(traced_otherwise):
    assert set(opened(traced_otherwise, with_groups(neck=2, first=3)).table) == {NECK, EXPAND}


def test_an_older_file_that_cannot_tell_its_groups_apart_is_refused_in_a_line(traced_otherwise):
    for path in traced_otherwise.glob("sen.json*"):
        head, *rest = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        content = json.loads(head)
        del content["groups"]
        path.write_text("\n".join([json.dumps(content), *rest, ""]))
    assert set(opened(traced_otherwise, with_groups(neck=2)).table) == {NECK, EXPAND}
    with pytest.raises(ArtifactError, match=r"sen\.json: measured with other channel groups than this run's \(channel"):
        opened(traced_otherwise, with_groups())


@pytest.mark.parametrize("name", ["sen.json", "sen.jsonl", "sen.pickle"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "endless"])
def test_what_is_no_file_is_refused_before_it_is_read(folder, name, kind):
    path = folder / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as stream:
            stream.truncate(1 << 42)
    with pytest.raises(ArtifactError, match=name) as caught:
        opened(folder)
    assert "expected" in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_not_there_adds_nothing(folder):
    before = (folder / "sen.jsonl").read_bytes()
    opened(folder).add(NECK, 0.6, 0, [])
    assert (folder / "sen.jsonl").read_bytes() == before
    assert json.loads(before.splitlines()[0])["hashes"] == HASHES
