"""The face for Python: the stages as values, resumable, quiet, and at home in somebody else's program."""

from __future__ import annotations

import signal

import matplotlib
import pytest
from colour import ColourHead, ColourNet, Colours, write_config, write_images

import ocrslim
from ocrslim.errors import ConfigError, DataError
from ocrslim.selection import NothingToPrune
from ocrslim.tasks import REGISTERED_PARTS, register, registry

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """A folder with images, labels and a configuration of a small task of its own."""
    patch = pytest.MonkeyPatch()
    patch.setattr(registry, "_TASKS", dict(registry._TASKS))
    patch.setitem(REGISTERED_PARTS["Backbone"], "ColourNet", ColourNet)
    patch.setitem(REGISTERED_PARTS["Head"], "ColourHead", ColourHead)
    register(Colours())
    folder = tmp_path_factory.mktemp("api")
    for name, count, seed in (("train", 24, 1), ("eval", 12, 2)):
        write_images(folder / name, count, seed)
    write_config(folder / "colour.yml", folder)
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def model(colours):
    """A network trained from nothing."""
    fresh = ocrslim.load(colours / "colour.yml", options={"Prune.engine": "dygraph"})
    return fresh.fit(colours / "train/label.txt", colours / "eval/label.txt", out=colours / "model")


@pytest.fixture(scope="module")
def table(colours, model):
    return ocrslim.analyse(model, colours / "eval/label.txt", out=colours / "table")


def test_a_network_is_trained_scored_and_asked(colours, model):
    assert model.training.best.metrics["acc"] == model.evaluate(colours / "eval/label.txt")["acc"] > 0.9
    assert model.plan is None and model.cost.macs > 0
    assert model.predict(colours / "eval/0.png") == 0
    assert model.draw(colours / "eval/0.png")._repr_png_().startswith(PNG)
    assert "unpruned" not in repr(model) and "best_accuracy" in repr(model)


def test_losses_are_a_table_and_pictures(model, table, tmp_path):
    assert table.path.is_file() and table.baseline == {"acc": 1.0}
    assert set(table.losses) == {f"backbone.convs.{index}.weight" for index in range(3)}
    assert table.plot().save(tmp_path / "map.png").read_bytes().startswith(PNG)
    assert table.plot(curves=True)._repr_png_().startswith(PNG)
    assert f"{len(table.losses)} layers, 6 points" in repr(table)


def test_losses_as_a_frame(table):
    pytest.importorskip("pandas")
    frame = table.to_frame()
    assert list(frame.columns) == [0.25, 0.5] and frame.index.name == "layer"
    assert {name: dict(row) for name, row in frame.iterrows()} == table.losses


def test_the_same_call_goes_on(colours, model, table):
    written = (colours / "table/sen.jsonl").read_bytes()
    again = ocrslim.analyse(model, colours / "eval/label.txt", out=colours / "table")
    assert again.losses == table.losses and (colours / "table/sen.jsonl").read_bytes() == written


def test_a_pruned_network_is_trained_and_exported(colours, model, table, tmp_path):
    small = ocrslim.prune(model, table, target={"macs": 0.4})
    assert small.cost.macs <= 0.6 * model.cost.macs and "MACs at 32x32" in small.summary
    before = small.export(tmp_path / "untrained")
    assert max(before.differences.values()) < 1e-5, "it can be exported as it is"
    trained = small.fit(
        colours / "train/label.txt", colours / "eval/label.txt", out=tmp_path, options={"Global.epoch_num": 2}
    )
    assert trained.plan == small.plan and trained.training.best.metrics["acc"] > 0.9
    exported = trained.export(tmp_path / "inference")
    again = ocrslim.load(colours / "colour.yml", weights=exported.folder)
    assert again.evaluate(colours / "eval/label.txt") == trained.training.best.metrics


def test_what_is_wrong_is_an_exception_with_a_remedy(colours, model, table):
    with pytest.raises(ConfigError, match="nearest valid key: Prune.ratios"):
        ocrslim.analyse(model, colours / "eval/label.txt", ratio=[0.5])
    with pytest.raises(DataError, match="nowhere.txt not found"):
        model.evaluate(colours / "nowhere.txt")
    with pytest.raises(NothingToPrune) as caught:
        ocrslim.prune(model, table, skip_first=9)
    assert "close to the input" in caught.value.layers
    with pytest.raises(AttributeError, match="no attribute 'prun'"):
        ocrslim.prun  # noqa: B018


def test_it_is_quiet_and_leaves_the_program_as_it_was(colours, model, tmp_path, capfd):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    backend = matplotlib.get_backend()
    table = ocrslim.analyse(model, colours / "eval/label.txt", out=tmp_path / "table")
    small = ocrslim.prune(model, table, target={"macs": 0.3})
    small.fit(colours / "train/label.txt", colours / "eval/label.txt", out=tmp_path, options={"Global.epoch_num": 1})
    table.plot()._repr_png_()
    assert capfd.readouterr().out == ""
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert matplotlib.get_backend() == backend
