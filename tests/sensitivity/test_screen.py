"""The display of a sensitivity analysis as it stands on a real terminal, in between log lines and after Ctrl-C."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from slow import quick
from waiting import wait_until

SCRIPT = """
import logging, sys, time
import ocrslim.sensitivity.display as shown
from ocrslim.utils.interrupts import Interrupts
from ocrslim.tasks import task_of
from ocrslim.tasks.detection.metric import ImageCounts
from ocrslim.sensitivity.search.search import ExactSearch

layers, careless = int(sys.argv[1]), sys.argv[2] == "careless"
if careless:
    shown._handlers_on = lambda stream: []
logging.basicConfig(format="%(message)s", stream=sys.stderr, force=True)
logging.getLogger("ocrslim").setLevel(logging.INFO)
hmean = task_of("det").metrics["hmean"]
searches = {
    f"conv{i}_depthwise_weights": ExactSearch([0.1, 0.5], [ImageCounts(9, 9, 9)] * 4, hmean, 0.02)
    for i in range(layers)
}
print("FIRST LINE", file=sys.stderr)
try:
    with Interrupts(), shown.SensitivityDisplay(searches, 4) as display:
        for number, (name, search) in enumerate(list(searches.items())[: layers // 2]):
            while (request := search.next()) is not None:
                search.add(request.ratio, 0, [ImageCounts(9, 9, 4)] * 4)
                display.measured(name, 0.1, 0, [])
            logging.getLogger("ocrslim.somewhere").info("logged %d [bold]%s", number, "/long/path" * 12 + "/end")
            print("printed", number)
            time.sleep(0.02)
        print("ALL LOGGED")
        while True:
            display.tick()
            time.sleep(0.05)
except KeyboardInterrupt:
    print("LAST LINE", file=sys.stderr)
"""


class Tmux:
    """A terminal of a size, with a program running in it."""

    def __init__(self, width, height):
        self._base = ["tmux", "-f", os.devnull, "-L", f"ocrslim-{time.monotonic_ns()}"]  # a server of its own
        shell = ["new-session", "-d", "-x", str(width), "-y", str(height), "-e", "PS1=$ ", "bash --norc --noprofile"]
        self.call(*shell)

    def call(self, *words):
        return subprocess.run([*self._base, *words], check=True, capture_output=True, text=True).stdout

    def type(self, *keys):
        self.call("send-keys", *keys)

    def lines(self, history=0):
        """The screen, lines that the terminal broke joined again, and what has left it at the top."""
        return self.call("capture-pane", "-p", "-J", "-S", str(-history)).rstrip().splitlines()

    def wait(self, pattern):
        seen = wait_until(lambda: re.search(pattern, "\n".join(self.lines())) is not None)
        assert seen, "\n".join([f"not seen: {pattern}", *self.lines()])
        return self.lines()


@pytest.fixture
def tmux(tmp_path, repo):
    if shutil.which("tmux") is None:
        pytest.skip("program not installed: tmux, whose terminal the display is looked at in")
    opened = []

    def run(width, height, layers, how="careful"):
        screen = Tmux(width, height)
        opened.append(screen)
        (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
        command = f"cd {repo}; clear; {sys.executable} -W ignore {tmp_path}/script.py {layers} {how}"
        screen.type(command, "Enter")
        screen.wait(rf"ALL LOGGED\n(.*\n)*.*\b{layers // 2} of {layers} layers")
        return screen

    yield run
    for screen in opened:
        screen.call("kill-server")


def layers_told(lines):
    """Layers of the table on a screen, with those that its last line counts."""
    hidden = re.search(r"and (\d+) more", lines[-1])
    return len(re.findall(r"conv\d+_depthwise_weights", "\n".join(lines))) + (int(hidden[1]) if hidden else 0)


class TestScreen:
    """In a real terminal, with log lines that are longer than it is wide."""

    @pytest.mark.parametrize("width, height, layers", quick([(80, 24, 60), (200, 50, 60), (80, 24, 8)], [(80, 24, 60)]))
    def test_one_whole_table_below_the_log_and_one_line_in_the_end(self, tmux, width, height, layers):
        screen = tmux(width, height, layers)
        wait_until(lambda: layers_told(screen.lines(history=1000)) == layers)  # it may be seen while it is drawn
        everything = screen.lines(history=1000)
        assert sum("layers settled" in line for line in everything) == 1
        logged = [line for line in everything if line.startswith("logged")]
        assert logged == [f"logged {i} [bold]{'/long/path' * 12}/end" for i in range(layers // 2)]
        assert [line for line in everything if line.startswith("printed")] == [
            f"printed {i}" for i in range(layers // 2)
        ]
        table = everything[next(i for i, line in enumerate(everything) if "layers settled" in line) :]
        assert len(table) < height
        names = [name for line in table for name in re.findall(r"conv\d+_depthwise_weights", line)]
        hidden = re.search(r"and (\d+) more", table[-1])
        assert len(set(names)) == len(names) == layers - (int(hidden[1]) if hidden else 0)

        screen.type("C-c")
        screen.wait("LAST LINE")
        ended = screen.lines(history=1000)
        after = ended[next(i for i, line in enumerate(ended) if line.startswith("analysis")) :]
        assert after[0].startswith("analysis interrupted after ")
        assert after[1] == "LAST LINE"
        assert not [line for line in ended if "depthwise" in line or "layer  " in line]
        assert [line for line in ended if line.startswith("logged")] == logged

    def test_handlers_left_alone_would_tear_it(self, tmux):
        """Control: the screen shows it if log lines go past the display."""
        everything = tmux(80, 24, 16, "careless").lines(history=1000)
        assert sum("layers settled" in line for line in everything) > 1
