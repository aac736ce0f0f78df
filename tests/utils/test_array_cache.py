"""Arrays in memory up to a limit, in a file beyond it, and nowhere once that is full: never another array."""

from __future__ import annotations

import errno
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ocrslim.utils.array_cache import ArrayStore

ONE = 2 * 3 * 4 * 4  # bytes of one


def pair(number):
    """Two arrays of different shapes, half of `ONE` each."""
    values = np.random.default_rng(number).standard_normal((2, 3, 4)).astype(np.float32)
    return [values[0].reshape(3, 2, 2), values[1]]


def same(found, number):
    return (
        found is not None
        and len(found) == 2
        and all(a.shape == b.shape and np.array_equal(a, b) for a, b in zip(found, pair(number)))
    )


def test_memory_first_then_the_file_and_each_key_gives_its_own(tmp_path):
    store = ArrayStore(3 * ONE, tmp_path)
    for number in range(8):
        store.put(number, pair(number))
    assert (store.in_memory, store.on_disk) == (3 * ONE, 5 * ONE)
    assert all(same(store.get(number), number) for number in reversed(range(8)))
    assert store.get(8) is None


def test_the_file_has_no_name_that_a_kill_could_leave(tmp_path):
    store = ArrayStore(0, tmp_path)
    store.put(0, pair(0))
    assert store.on_disk == ONE and list(tmp_path.iterdir()) == []


def test_without_a_folder_there_is_memory_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = ArrayStore(ONE, None)
    store.put(0, pair(0))
    store.put(1, pair(1))
    assert same(store.get(0), 0) and store.get(1) is None and store.on_disk == 0


def test_the_first_under_a_key_stays(tmp_path):
    store = ArrayStore(ONE, tmp_path)
    for key in (0, 1):
        store.put(key, pair(key))
        store.put(key, pair(9))
        assert same(store.get(key), key)
    assert (store.in_memory, store.on_disk) == (ONE, ONE)


def test_arrays_that_are_parts_of_others_are_written_as_they_look(tmp_path):
    store = ArrayStore(0, tmp_path)
    wide = np.arange(24, dtype=np.float32).reshape(4, 6)
    store.put("every other", [wide[:, ::2]])
    np.testing.assert_array_equal(store.get("every other")[0], wide[:, ::2])


def test_what_is_taken_gives_memory_and_file_back(tmp_path):
    store = ArrayStore(ONE, tmp_path)
    for number in range(3):
        store.put(number, pair(number))
    assert all(same(store.take(number), number) for number in (1, 0, 2))
    assert store.in_memory == 0 and all(store.get(number) is None for number in range(3))
    for number in (5, 6, 7):
        store.put(number, pair(number))
    assert all(same(store.get(number), number) for number in (5, 6, 7))
    assert (store.in_memory, store.on_disk) == (ONE, 2 * ONE), "the file's place is used again"


@pytest.mark.parametrize("during", ["opening", "writing"])
def test_a_full_disk_is_said_once_and_what_is_missing_is_asked_for_again(tmp_path, monkeypatch, caplog, during):
    store = ArrayStore(ONE, tmp_path)
    store.put(0, pair(0))
    if during == "writing":
        store.put(1, pair(1))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with caplog.at_level(logging.WARNING):
        for number in (2, 3, 4):
            store.put(number, pair(number))
    assert [str(tmp_path) in line and "No space left" in line for line in caplog.messages] == [True]
    assert same(store.get(0), 0) and same(store.get(1), 1) == (during == "writing")
    assert [store.get(number) for number in (2, 3, 4)] == [None] * 3
    assert store.on_disk == (ONE if during == "writing" else 0)


def test_a_write_that_ends_half_way_is_as_if_it_had_not_begun(tmp_path, monkeypatch):
    store, real, calls = ArrayStore(0, tmp_path), os.pwrite, []

    def second_fails(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "full")
        return real(*arguments)

    monkeypatch.setattr(os, "pwrite", second_fails)
    store.put(0, pair(0))
    assert store.get(0) is None and store.on_disk == 0


def test_a_write_that_the_system_cuts_short_is_not_taken_for_whole(tmp_path, monkeypatch):
    store, real = ArrayStore(0, tmp_path), os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, data, offset: real(handle, data[:8], offset))
    store.put(0, pair(0))
    assert store.get(0) is None or same(store.get(0), 0)


def test_threads_that_put_and_get_at_once_see_their_own_arrays(tmp_path):
    store = ArrayStore(5 * ONE, tmp_path)

    def work(number):
        store.put(number, pair(number))
        return same(store.get(number), number)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, list(range(40)) * 3))
    assert store.in_memory + store.on_disk == 40 * ONE
