"""What a copy of PaddleOCR knows, read from its files: names, arguments, and the nearest where one is not known."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from checkout import checkout, write_checkout  # noqa: F401

from ocrslim.errors import ConfigError
from ocrslim.ppocr import Source, building, find_source, is_named, section_faults, use_source, used_source
from ocrslim.ppocr.catalogue import Catalogue, Signature
from ocrslim.ppocr.faults import transform_fault

ARCHITECTURE = {
    "model_type": "det",
    "Backbone": {"name": "Wide", "layers": 18},
    "Neck": {"name": "Pyramid", "out_channels": 96, "anything": 1},
    "Head": {"name": "BoxHead"},
}


def test_backbones_are_those_of_the_type_of_model(checkout):  # noqa: F811
    assert Catalogue(checkout, "det").names("Backbone") == ["Wide", "Broad"]
    assert Catalogue(checkout, "rec").names("Backbone") == ["Wide", "make_tall"]
    assert Catalogue(checkout, "cls").names("Backbone") == []


def test_arguments_are_those_of_the_class_or_its_base_or_the_function(checkout):  # noqa: F811
    det, rec = Catalogue(checkout, "det"), Catalogue(checkout, "rec")
    base = Signature(("in_channels", "layers", "scale", "dilated"), ("in_channels", "layers"), open=False)
    assert det.signature("Backbone", "Wide") == det.signature("Backbone", "Broad") == base
    assert rec.signature("Backbone", "Wide") == Signature(("in_channels", "height"), (), open=True)
    assert rec.signature("Backbone", "make_tall") == Signature(("pretrained", "size"), (), open=False)
    assert det.signature("Head", "BoxHead").open, "no constructor in sight: anything may be meant"


def test_transforms_come_by_a_star_too(checkout):  # noqa: F811
    names = Catalogue(checkout, "det").names("transforms")
    assert names == ["DecodeImage", "KeepKeys", "Shear", "BoxLabelEncode"]
    use_source(find_source(str(checkout)))
    assert transform_fault("Shear", "det") is None
    assert "did you mean Shear?" in (transform_fault("Sheer", "det") or "")


@pytest.mark.parametrize(
    ("part", "change", "key", "words"),
    [
        ("Backbone", {"name": "Wyde", "layers": 18}, "Architecture.Backbone.name", "did you mean Wide?"),
        ("Backbone", {"name": "make_tall"}, "Architecture.Backbone.name", "one of Wide, Broad"),
        ("Backbone", {"layers": 18}, "Architecture.Backbone.name", "missing, expected a class"),
        ("Backbone", {"name": "Wide"}, "Architecture.Backbone", "Wide lacks layers"),
        ("Backbone", {"name": "Wide", "layers": 1, "scele": 2}, "Architecture.Backbone.scele", "did you mean scale?"),
        ("Neck", {"name": "Pyramid"}, "Architecture.Neck", "Pyramid lacks out_channels"),
        ("Transform", {"name": "Bent"}, "Architecture.Transform.name", "did you mean Bend?"),
    ],
)
def test_what_is_not_known_is_told_by_its_key(part, change, key, words, checkout):  # noqa: F811
    assert section_faults({"Architecture": ARCHITECTURE}, checkout) == []
    ((found, text),) = section_faults({"Architecture": {**ARCHITECTURE, part: change}}, checkout)
    assert found == key and words in text


def test_other_sections_are_looked_for_as_well(checkout):  # noqa: F811
    faults = section_faults({"Loss": {"name": "BoxLoss", "epps": 1}, "Metric": {"name": "RecMetric"}}, checkout)
    assert [key for key, _ in faults] == ["Loss.epps", "Metric.name"]
    assert "did you mean eps?" in faults[0][1] and str(checkout) in faults[1][1]


# Which copy


def test_the_named_folder_comes_first_then_the_working_directory_then_the_package(checkout, tmp_path, monkeypatch):  # noqa: F811
    other, package = write_checkout(tmp_path / "other"), write_checkout(tmp_path / "site/unstructured_paddleocr")
    (package / "__init__.py").write_text("raise AssertionError('not to be imported')")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    monkeypatch.chdir(tmp_path)
    assert find_source(None).folder == package
    (package / "unstructured_paddleocr.py").write_text("")  # the real one holds such a module
    use_source(find_source(None))
    assert find_source(None).folder == package, "with that folder first on the path"
    monkeypatch.chdir(other)
    assert find_source(None).folder == other
    assert find_source(str(checkout)) == Source(checkout, f"the checkout {checkout}", named=True)


def test_without_any_the_ways_to_one_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        find_source(None)
    assert all(word in str(caught.value) for word in (str(tmp_path), "Global.paddleocr=DIR", "ocrslim[zoo]"))
    with pytest.raises(ConfigError, match="is no checkout of PaddleOCR: it has no ppocr/modeling"):
        find_source(str(tmp_path))


def test_a_source_is_used_until_another_configuration_does_without(checkout):  # noqa: F811
    assert used_source() is None and not is_named()
    use_source(find_source(str(checkout)))
    assert used_source() == checkout and is_named() and sys.path[0] == str(checkout)
    use_source(None)
    assert not is_named()


def test_of_two_copies_a_process_can_use_one(checkout, tmp_path, monkeypatch):  # noqa: F811
    module = type(sys)("ppocr")
    module.__path__ = [str(Path(write_checkout(tmp_path / "imported")) / "ppocr")]
    monkeypatch.setitem(sys.modules, "ppocr", module)
    with pytest.raises(ConfigError, match="start another process"):
        use_source(find_source(str(checkout)))
    assert not is_named()


def test_code_that_compiles_is_to_run_inside_the_checkout(checkout):  # noqa: F811
    """DRRG's network names its C++ by a path from the top of the checkout; Paddle only says that a command failed."""
    use_source(find_source(str(checkout)))
    told = "Failed to run command: build; it compiles .* inside the checkout$"
    with pytest.raises(ConfigError, match=told), building("Architecture"):
        raise RuntimeError("Failed to run command: build")
    with pytest.raises(ConfigError, match="RuntimeError: no such layer$"), building("Architecture"):
        raise RuntimeError("no such layer")


def test_arguments_that_are_filled_in_later_are_no_faults(checkout):  # noqa: F811
    faulty = {"Architecture": {**ARCHITECTURE, "Neck": {"name": "Pyramid"}}, "Metric": {"name": "RecMetric"}}
    assert [key for key, _ in section_faults(faulty, checkout)] == ["Architecture.Neck", "Metric.name"]
    assert [key for key, _ in section_faults(faulty, checkout, complete=False)] == ["Metric.name"]


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("paddle.fluid", "it is older than this Paddle: use a newer checkout"),
        ("no_such.part", "pip install no_such"),
        ("ppocr.no_such", "update it"),
    ],
)
def test_a_checkout_of_another_age_is_told_from_a_missing_package(module, advice, checkout):  # noqa: F811
    told = f"^Architecture: PaddleOCR's code in .*No module named .*: {advice}$"
    with pytest.raises(ConfigError, match=told), building("Architecture"):
        importlib.import_module(module)
