"""What the pages of benchmarks that are made of parts have in common."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tabulate import tabulate


def page(sections: Iterable[tuple[str, str]]) -> str:
    """The sections, of a title and a text each, that have a text; the first one's title is the page's."""
    return "\n\n".join(
        f"{'#' if at == 0 else '##'} {title}\n\n{text}" for at, (title, text) in enumerate(sections) if text
    )


def table(rows: Sequence[Sequence[Any]], headers: Sequence[str]) -> str:
    """Rows with cells as they are written."""
    return str(tabulate(rows, headers, tablefmt="github", disable_numparse=True))


def readings_table(found: Mapping[str, Sequence[Mapping[str, str]]]) -> str:
    """Who has read the test images, and how often; "" where nobody has."""
    rows = [[name, len(times), times[-1]["date"], times[-1]["weights"][:12]] for name, times in found.items()]
    return table(rows, ["network", "times", "last", "weights"]) if rows else ""


def commands(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The command of each part."""
    lines = [f"# {key}\npython {shlex.join(one['request']['command'])}" for key, one in results.items()]
    return "```sh\n" + "\n".join(lines) + "\n```"
