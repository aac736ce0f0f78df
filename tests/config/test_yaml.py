"""YAML as configurations have it: what PyYAML would take for something else, raise at, or take minutes over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocrslim.config import yaml_reader as yamlfile
from ocrslim.config.config import load_config
from ocrslim.config.yaml_reader import is_read_whole, parse_yaml
from ocrslim.errors import ConfigError

HUGE = 300_000


def refusal(folder: Path, text: str) -> str:
    path = folder / "config.yml"
    path.write_bytes(text.encode("utf-8"))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert len(caught.value.problems) == 1, caught.value.problems
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("!!int", "'' is no decimal whole number", id="an int of nothing"),
        pytest.param("!!int ''", "'' is no decimal whole number", id="an int of empty text"),
        pytest.param("!!int x", "'x' is no decimal whole number", id="an int of words"),
        pytest.param("!!float", "'' is no number", id="a float of nothing"),
        pytest.param("!!float x", "'x' is no number", id="a float of words"),
        pytest.param("!!bool maybe", "the tag !!bool does not fit 'maybe'", id="a bool of words"),
        pytest.param("!!null x", "the tag !!null does not fit 'x'", id="a null of words"),
        pytest.param("!!timestamp x", "is read as a date", id="a date of words"),
        pytest.param("2024-13-45T99:99:99", "is read as a date", id="a date that there is not"),
        pytest.param("!!binary '='", "is read as bytes", id="bytes that do not decode"),
        pytest.param("!!set {a, b}", "is read as a set", id="a set"),
        pytest.param("!!map x", "the tag !!map does not fit", id="a mapping that is text"),
        pytest.param("!!seq {a: b}", "the tag !!seq does not fit", id="a list that is a mapping"),
        pytest.param("!!int [1]", "the tag !!int does not fit", id="a number that is a list"),
        pytest.param("1:30", "'1:30' is read as a number in base 60", id="base 60"),
        pytest.param("1:30.5", "'1:30.5' is read as a number in base 60", id="base 60 with a fraction"),
        pytest.param("017", "leave out the zeros in front", id="octal"),
        pytest.param("1" * 400, "beyond 64 bits", id="10^400"),
        pytest.param(str(2**63), "beyond 64 bits", id="2^63"),
        pytest.param("1" * 5000, "has 5,000 characters", id="10^5000"),
        pytest.param("1.0e+999", "is not a finite number", id="beyond float"),
        pytest.param("-.INF", "is not a finite number", id="infinity"),
        pytest.param('"a\\0b"', "has a NUL character", id="a NUL by escape"),
        pytest.param('"\\ud800"', "a lone surrogate", id="half a character by escape"),
        pytest.param("x" * 5000, "has 5,000 characters, expected at most 4,096", id="long text"),
    ],
)
def test_a_scalar_that_is_no_setting_is_named_with_its_place(tmp_path, value, expected):
    found = refusal(tmp_path, f"Global:\n  debug: {value}\n")
    assert expected in found and "line 2, column" in found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(":".join("1" * HUGE), "characters, expected at most", id="base 60 of 300,000 parts"),
        pytest.param(":".join("1" * HUGE) + ".5", "characters, expected at most", id="base 60 and a fraction"),
        pytest.param("0b" + "1_" * HUGE, "characters, expected at most", id="binary"),
    ],
)
def test_what_is_too_long_ends_in_bounded_time(tmp_path, value, expected):
    assert expected in refusal(tmp_path, f"Global: {{debug: {value}}}\n")


def test_a_list_without_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(yamlfile, "MAX_VALUES", 100)
    assert "more than 100 values" in refusal(tmp_path, f"Global: {{debug: [{'1,' * 300}]}}\n")


def test_an_escape_that_is_no_character(tmp_path):
    assert "not valid YAML" in refusal(tmp_path, 'Global: {debug: "\\UFFFFFFFF"}')


@pytest.mark.parametrize(
    "key", ["1", "true", "2024-01-01", "!!int 3", "[a, b]", "~", '"a\\0b"', '"\\udfff"', "'a\n\n b'"]
)
def test_keys_are_text_of_one_line(tmp_path, key):
    assert "the key" in refusal(tmp_path, f"Global: {{? {key} : 1}}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Global: {<<: 3}", "<< merges"),
        ("Global: {<<: [{seed: 1}, 2]}", "<< merges"),
        ("Global: &g {<<: *g}", "contains itself"),
        (
            "a0: &a0 {x: 1}\n" + "\n".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40)),
            "aliases",
        ),
    ],
    ids=["of a number", "of a list with a number", "of itself", "doubling forty times"],
)
def test_a_merge_of_something_else_is_refused(tmp_path, text, expected):
    assert expected in refusal(tmp_path, text)


def test_merges_as_yaml_defines_them():
    text = "a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b], y: 3}"
    assert parse_yaml(text, "")[0]["c"] == {"x": 1, "z": 2, "y": 3}  # own keys win, then the first mapping


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{a: yes, b: No, c: on, d: true}", {"a": True, "b": False, "c": True, "d": True}),
        ("[1_000, -3, 0x1F, 0b101, 0, +7]", [1000, -3, 31, 5, 0, 7]),
        ("[1.5, -0.5, 1_0.5, 5.0e-05, 685.230_15e+03]", [1.5, -0.5, 10.5, 5e-5, 685230.15]),
        ("[~, null, Null, '~']", [None, None, None, "~"]),
        ("[1e-3, 0o17, 1./255., =, <<]", ["1e-3", "0o17", "1./255.", "=", "<<"]),
        ('["1:30", "017", !!str 3, !!int "3", !!float "3"]', ["1:30", "017", "3", 3, 3.0]),
        ("é: ü", {"é": "ü"}),
    ],
)
def test_what_yaml_means_is_read(text, value):
    assert parse_yaml(text, "") == (value, [])


@pytest.mark.parametrize(
    "text", ["out/run", "'a #b'", '"a #b"', "[a, b]", "{a: b}", "", "a#b", "a: [b]", "!!str 3", "*"]
)
def test_what_is_read_whole(text):
    assert is_read_whole(text)


@pytest.mark.parametrize("text", ["a #b", "#b", "[a] # b", "&x a", "'a' # b", "--- a", "---", "a\n b"])
def test_what_yaml_reads_in_part_only(text):
    assert not is_read_whole(text)


@pytest.mark.parametrize("kind", ["pipe", "device", "link to a device", "link to itself", "long name", "NUL"])
def test_a_configuration_that_is_no_file_is_refused_before_it_is_read(tmp_path, kind):
    path = tmp_path / "config.yml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "long name":
        path = tmp_path / ("x" * 5000)
    else:
        path = tmp_path / "a\0b"
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert len(caught.value.problems) == 1


def test_reading_takes_no_class_of_pyyaml_for_a_value(tmp_path):
    """Nothing is constructed by PyYAML, so that none of its constructors can raise, or run anything."""
    code = """
import json, sys, yaml
yaml.SafeLoader.construct_document = None
from ocrslim.config.config import load_config
print(json.dumps(load_config(sys.argv[1]).tree))
try:
    yaml.safe_load("a: 1")
except TypeError:
    print("PyYAML constructs nothing")
"""
    config = Path(__file__).resolve().parents[2] / "configs/det/det_mv3_db.yml"
    run = subprocess.run([sys.executable, "-c", code, str(config)], check=True, capture_output=True, text=True)
    tree, control = run.stdout.splitlines()
    assert json.loads(tree) == load_config(config).tree and control == "PyYAML constructs nothing"
