"""The display of a sensitivity analysis: what stands on a terminal and what goes into a log."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import pty
import re
import select
import sys
import threading

import pytest
from exact_searches import IMAGES, OPEN, RATIOS, Clock, answer, exact
from rich.console import Console

from ocrslim.sensitivity.display import LOG_SECONDS, SensitivityDisplay
from ocrslim.sensitivity.layer_table import layer_table
from ocrslim.sensitivity.progress import LayerProgress
from ocrslim.sensitivity.search.search import Decision

SHOW_CURSOR, HIDE_CURSOR = b"\x1b[?25h", b"\x1b[?25l"
SETTLED = Decision(0.34, 0.3, 0.4, True)


def rows(number, settled=0, begun=0):
    states = [(SETTLED, 40)] * settled + [(OPEN, 8)] * begun + [(OPEN, 0)] * (number - settled - begun)
    return [LayerProgress(f"conv{i}_depthwise_weights", known, 1, n, 0.5) for i, (known, n) in enumerate(states)]


def screen(table, recent, width, height, **options):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(layer_table(table, recent, width, height, **options))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    return lines


class TestTable:
    @pytest.mark.parametrize("width, height", [(77, 21), (197, 47)], ids=["80x24", "200x50"])
    @pytest.mark.parametrize("number", [1, 8, 29, 60])
    def test_each_layer_is_shown_or_counted(self, number, width, height):
        table = rows(number, settled=number // 2, begun=number // 4)
        lines = screen(table, [], width, height)
        shown = re.findall(r"conv\d+_depthwise_weights", "\n".join(lines))
        assert shown == sorted(set(shown), key=shown.index)
        hidden = re.search(r"and (\d+) more: (.*)", lines[-1])
        assert len(shown) + (int(hidden[1]) if hidden else 0) == number
        assert not hidden or sum(map(int, re.findall(r"\d+", hidden[2]))) == int(hidden[1])
        assert len(shown) >= min(number, height - 2)
        assert width < 100 or not hidden

    def test_what_was_measured_last_stays_in_sight_in_the_networks_order(self):
        table = rows(60, settled=50)
        recent = [row.layer for row in table[:50]]
        text = "\n".join(screen(table, recent, 77, 10))
        assert re.findall(r"conv(\d+)_", text) == [str(i) for i in range(42, 50)]
        assert "and 52 more: 42 settled, 10 not begun" in text

    def test_ratios_of_earlier_runs_come_before_layers_that_nothing_is_known_of(self):
        table = [*rows(30)[:20], *rows(30, settled=30)[20:]]
        assert re.findall(r"conv(\d+)_", "\n".join(screen(table, ["conv3_depthwise_weights"], 77, 6))) == [
            "3", "20", "21", "22",
        ]  # fmt: skip

    def test_a_row_says_ratio_interval_points_and_images(self):
        lines = screen(rows(3, settled=1, begun=1), [], 77, 21)
        assert lines[1].split() == ["✓", "conv0_depthwise_weights", "0.34", "0.30-0.40", "1", "40"]
        assert lines[2].split() == ["▸", "conv1_depthwise_weights", "0.00", "0.00-0.90", "1", "8"]
        assert lines[3].split() == ["conv2_depthwise_weights", "-", "0.00-0.90", "1", "0"]

    def test_long_names_are_told_apart(self):
        table = [LayerProgress(f"backbone.stage{i}.{'x' * 60}.{i}.weight", OPEN, 0, 0, 0.0) for i in range(3)]
        names = {line.split()[0] for line in screen(table, [], 60, 21)[1:]}
        assert len(names) == 3

    def test_a_terminal_without_unicode_gets_none(self):
        assert "".join(screen(rows(40, settled=3, begun=3), [], 77, 10, ascii_only=True)).isascii()
        assert not "".join(screen(rows(40, settled=3, begun=3), [], 77, 10)).isascii()


class TestLog:
    """Where standard error is no terminal."""

    @pytest.fixture(autouse=True)
    def no_terminal(self, monkeypatch, caplog):
        monkeypatch.setenv("FORCE_COLOR", "1")  # as continuous integration does; Rich then takes it for a terminal
        caplog.set_level(logging.INFO, "ocrslim")

    def test_a_line_now_and_then_and_nothing_twice(self, caplog, capsys):
        clock, searches = Clock(), exact("abc")
        with SensitivityDisplay(searches, IMAGES, clock=clock) as display:
            for name in "abc":
                for _ in RATIOS:
                    clock.now += LOG_SECONDS / 4
                    answer(searches[name])
                    display.measured(name, 0.1, 0, [])
                    display.tick()
        first, second, last = caplog.messages
        assert first.startswith(
            "analysis: 4 of 9 points, 1 of 3 layers settled, 16.0 points/min, 00:15 elapsed, ~00:18"
        )
        assert [re.findall(r"\b([abc]) 0\.00", line) for line in (first, second, last)] == [["a"], ["b"], ["c"]]
        assert last.startswith("analysis done in 00:33: 9 of 9 points, 3 of 3 layers settled, 16.0 points/min")
        assert "\x1b" not in capsys.readouterr().err

    @pytest.mark.parametrize(
        "error, ending",
        [(KeyboardInterrupt, "interrupted after"), (ValueError, "stopped after"), (None, "out of time after")],
    )
    def test_a_short_run_says_what_it_has(self, caplog, error, ending):
        searches = exact("ab")
        try:
            with SensitivityDisplay(searches, IMAGES, 1.0, Clock()) as display:
                for _ in RATIOS:
                    answer(searches["a"])
                    display.measured("a", 0.1, 0, [])
                if error:
                    raise error
        except (KeyboardInterrupt, ValueError):
            pass
        (line,) = caplog.messages
        assert line.startswith(f"analysis {ending} 00:00: 3 of 6 points, 1 of 2 layers settled")
        assert line.endswith("settled: a 0.00")

    def test_layers_settled_by_an_earlier_run_are_no_news(self, caplog):
        with SensitivityDisplay(exact("ab", points=3), IMAGES, clock=Clock()):
            pass
        assert "settled:" not in caplog.messages[-1]

    def test_the_time_budget_is_shown(self, caplog):
        clock = Clock()
        with SensitivityDisplay(exact("ab"), IMAGES, 2.0, clock) as display:
            clock.now += 20
            display.tick()
        assert "01:40 of the time budget left" in caplog.messages[0]


class Terminal:
    """A pseudo-terminal that is standard error within the block; what arrives there is collected in `seen`."""

    def __init__(self):
        self._master, slave = pty.openpty()
        self.file = os.fdopen(slave, "w", encoding="utf-8")
        self.seen = b""
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self):
        self._reader.start()
        self._redirected = contextlib.redirect_stderr(self.file)
        self._redirected.__enter__()
        return self

    def __exit__(self, *error):
        self._redirected.__exit__(*error)
        if not self._stop.is_set():
            self.hang_up()
        with contextlib.suppress(OSError):
            self.file.close()

    def hang_up(self):
        """Close it from the other side, as when a window is closed or a connection breaks."""
        self._stop.set()
        self._reader.join()
        os.close(self._master)

    def _read(self):
        while True:
            if select.select([self._master], [], [], 0.02)[0]:
                self.seen += os.read(self._master, 1 << 16)
            elif self._stop.is_set():
                return


class TestTerminal:
    @pytest.fixture(autouse=True)
    def able(self, monkeypatch):
        monkeypatch.setenv("TERM", "xterm-256color")

    def test_at_most_four_redraws_a_second(self):
        clock = Clock()
        with Terminal(), SensitivityDisplay(exact("ab"), IMAGES, clock=clock) as display:
            draws = []
            display._live.refresh = lambda: draws.append(clock.now)
            for _ in range(100):
                clock.now += 0.01
                display.measured("a", 0.1, 0, [])
                display.tick()
            del display._live.refresh
        assert len(draws) == 4

    def test_streams_and_handlers_are_given_back(self):
        with Terminal() as terminal:
            handler = logging.StreamHandler(terminal.file)
            logging.getLogger("somebody").addHandler(handler)
            with pytest.raises(KeyboardInterrupt), SensitivityDisplay(exact("a"), IMAGES) as display:
                display.tick()
                assert handler.stream is sys.stderr is not terminal.file
                raise KeyboardInterrupt
            assert handler.stream is sys.stderr is terminal.file
            logging.getLogger("somebody").removeHandler(handler)
        assert terminal.seen.rfind(SHOW_CURSOR) > terminal.seen.rfind(HIDE_CURSOR) > -1

    def test_measuring_goes_on_when_the_terminal_is_closed(self):
        clock = Clock()
        with Terminal() as terminal:
            with SensitivityDisplay(exact("a"), IMAGES, clock=clock) as display:
                display.tick()
                terminal.hang_up()
                with pytest.raises(OSError):
                    os.write(terminal.file.fileno(), b"control")
                for _ in range(3):
                    clock.now += LOG_SECONDS
                    display.tick()
            assert sys.stderr is terminal.file

    def test_measuring_goes_on_when_the_terminal_is_closed_in_mid_drawing(self):
        def broken():
            raise OSError(errno.EIO, "Input/output error")

        clock = Clock()
        with Terminal() as terminal, SensitivityDisplay(exact("a"), IMAGES, clock=clock) as display:
            display.tick()
            display._live.refresh = broken
            clock.now += 1
            display.tick()
            assert sys.stderr is terminal.file
            clock.now += LOG_SECONDS
            display.tick()
