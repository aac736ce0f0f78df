"""`-o`: what YAML or the shell would silently take for something else."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ocrslim.config.config import load_config
from ocrslim.config.overrides import parse_overrides
from ocrslim.errors import ConfigError

MAIN = Path(__file__).resolve().parents[2] / "configs/det/det_mv3_db.yml"
FOLDER = "Global.save_model_dir"


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(MAIN, overrides)
    assert len(caught.value.problems) == 1 and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        pytest.param("out/run #1/x", "YAML reads only a part", id="a comment"),
        pytest.param("#1", "YAML reads only a part", id="nothing but a comment"),
        pytest.param("&run out", "YAML reads only a part", id="an anchor"),
        pytest.param("2024-01-01", "is read as a date", id="a date"),
        pytest.param("yes", "found True, expected a path", id="a truth value"),
        pytest.param("1_000", "found 1000, expected a path", id="a number with an underscore"),
        pytest.param("007", "is no decimal whole number", id="an octal number"),
        pytest.param("1:30", "read as a number in base 60", id="a number in base 60"),
        pytest.param("run: 1", "found {'run': 1}, expected a path", id="a mapping"),
        pytest.param("1.10", "found 1.1, expected a path", id="a number with a fraction"),
    ],
)
def test_text_that_yaml_reads_otherwise_is_refused_with_how_to_quote_it(raw, why):
    line = refusal(f"{FOLDER}={raw}")
    assert why in line
    _, _, advice = line.rpartition(": -o ")
    (typed,) = shlex.split(advice)
    assert load_config(MAIN, [typed]).tree["Global"]["save_model_dir"] == raw


@pytest.mark.parametrize("raw", ["it's #1", 'a "b" #1', "a\\b #1", "$HOME #1"])
def test_how_to_quote_holds_in_a_shell_and_in_yaml(raw):
    (typed,) = shlex.split(refusal(f"{FOLDER}={raw}").rpartition(": -o ")[2])
    assert load_config(MAIN, [typed]).tree["Global"]["save_model_dir"] == raw


@pytest.mark.parametrize("raw", ["out/run#1", "0o17", "a=b", "out/run 1", "'out/run #1'", "1.2.3", "é", "C:/out"])
def test_text_that_is_read_as_it_stands_is_taken(raw):
    assert load_config(MAIN, [f"{FOLDER}={raw}"]).tree["Global"]["save_model_dir"] == raw.strip("'")


@pytest.mark.parametrize("raw", ["~", "~/run", "~user/run"])
def test_the_home_folder_is_written_out(raw):
    assert "home folder" in refusal(f"{FOLDER}={raw}")
    assert "home folder" in refusal(f"Global.pretrained_model={raw}")


@pytest.mark.parametrize("raw", ["", "null"])
def test_an_empty_value_takes_a_setting_back(raw):
    assert load_config(MAIN, [f"Global.pretrained_model={raw}"]).weights is None


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("Global.a\0b", id="NUL"),
        pytest.param("Global.\ud800", id="half a character"),
        pytest.param("Global.a\nb", id="line break"),
        pytest.param("Global" + ".a" * 5000, id="five thousand parts"),
        pytest.param("Global" + ".a" * 100, id="a hundred parts"),
        pytest.param("Global." + "a" * 100_000, id="long"),
    ],
)
def test_a_key_that_is_none_is_one_line(key):
    assert len(refusal(f"{key}=1")) < 600


@pytest.mark.parametrize("place", ["9" * 50, "99", "٣٣"])
def test_a_place_in_a_list_that_there_is_not(place):
    assert "there is no item" in refusal(f"Train.dataset.label_file_list.{place}=x")


@pytest.mark.parametrize("raw", ["'\ud800'", "x\0y", "[" * 1500, "{a: " * 500, "1" * 100_000])
def test_a_value_that_is_none_is_one_line(raw):
    assert len(refusal(f"{FOLDER}={raw}")) < 800


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("Prune.target={macs:0.3}", "YAML reads macs:0.3 as one word: put a space after the colon: macs: 0.3"),
        ("Prune.x=[{a: {b:c, d: 1}}]", "put a space after the colon: b: c"),
        ("Prune.target={macs: 0.3}", None),
        ("Prune.x={macs}", None),
        ("Prune.x=[a:1]", None),
    ],
)
def test_a_colon_without_its_space_is_told(override, said):
    _, problems = parse_overrides([override])
    assert (said is None) == (not problems) and all(said in line for line in problems)
