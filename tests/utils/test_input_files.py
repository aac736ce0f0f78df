"""Files that are no files are refused before they are read, and JSON is bounded."""

from __future__ import annotations

import os
import socket

import pytest

from ocrslim.utils.input_files import parse_json, read_file


def test_a_regular_file_is_read_also_through_a_link(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to("a")
    assert read_file(tmp_path / "b", 7) == b"content"


def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a named pipe, expected a regular file"):
        read_file(tmp_path / "pipe", 10)


def test_a_link_to_an_endless_device_is_refused(tmp_path):
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="a device, expected a regular file"):
        read_file(tmp_path / "zero", 10)


def test_folders_and_sockets_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(OSError, match="a socket"):
            read_file("s", 10)
    with pytest.raises(OSError, match="a folder"):
        read_file(tmp_path, 10)


def test_a_sparse_file_beyond_the_limit_is_refused_by_its_size(tmp_path):
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(OSError, match="1,099,511,627,776 bytes, expected at most 10"):
        read_file(tmp_path / "huge", 10)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_a_path_that_no_system_takes_is_an_oserror(name):
    with pytest.raises(OSError, match=r"a character that no path can have|No such file"):
        read_file(name, 10)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 200 + "]" * 200,
        '{"a":' * 5000,
        "1" * 5000,
        "1e999",
        "NaN",
        "-Infinity",
        '"\\ud800"',
        b"\xff",
    ],
    ids=lambda text: str(text[:8]),
)
def test_json_out_of_bounds_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_ordinary_json_is_what_json_says():
    assert parse_json(b'{"a": [1, 2.5, "\\u00e9", null, true], "b": -1e3}') == {
        "a": [1, 2.5, "é", None, True],
        "b": -1000.0,
    }
    assert parse_json("12345678901234567890") == 12345678901234567890
