"""Examples in the documents run as they stand."""

from __future__ import annotations

import re


def test_the_python_example_of_the_channel_graph_runs(repo, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (repo / "docs/channel_graph.md").read_text(encoding="utf-8"), re.S)
    exec(compile(code, "docs/channel_graph.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "-> " in shown and "the network's output" in shown and shown.count("Cost(macs=") == 2
