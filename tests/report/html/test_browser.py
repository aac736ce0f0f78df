"""The page in headless Chromium: its sliders show the plans of the files, by keyboard, on every screen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browsing import REPO, require_browser, seen_in_browser
from run_folder import COMPRESS, LAYERS, PLANS, write_files, write_run

from ocrslim.report import write_report

pytestmark = pytest.mark.slow
POSITIONS = {"tolerance": [0, 1, 3], "target": [1, 0]}


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    require_browser()


def looked_at(page: Path, folder: Path, positions: dict[str, list[int]]) -> dict[str, Any]:
    """Read a page in the browser; return what it shows at each position of its sliders."""
    script = REPO / "tests/report/html/report_page.mjs"
    return seen_in_browser(script, page, folder, json.dumps(positions), seconds=300)


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("page")
    return {**looked_at(write_report(write_run(folder)), folder, POSITIONS), "folder": folder}


def assert_shows(panel: dict[str, Any], step: dict[str, Any], plan: dict[str, Any]) -> None:
    """Compare the figures of a panel and the rows of its table with a plan."""
    assert float(panel["at"]) == step["at"]
    wanted = {"layers": sum(map(bool, plan["removed"])), "channels": sum(plan["removed"]), "loss": plan["loss"]}
    figures = {name: float(value) for name, value in panel["figures"].items()}
    assert figures == pytest.approx({**wanted, **{name: plan[name] for name in ("macs", "params", "ms")}})
    assert panel["texts"]["macs"].startswith(f"{plan['macs']:,}") and panel["texts"]["ms"].startswith(
        f"{plan['ms']:.1f}"
    )
    assert panel["texts"]["loss"].startswith(f"{100 * plan['joint']:.2f} %")
    rows = [[name, f"16 → {16 - count}"] for name, count in zip(LAYERS, plan["removed"]) if count]
    assert panel["rows"] == (rows or [[]])


@pytest.mark.parametrize(("slider", "curve"), [("tolerance", 0), ("target", 1)])
def test_a_slider_shows_the_plan_of_each_position(slider, curve, seen):
    steps = PLANS["curves"][curve]["steps"]
    for index, panel in zip(POSITIONS[slider], seen["sliders"][slider]["moved"]):
        assert_shows(panel, steps[index], steps[index]["plans"][0])


def test_it_starts_at_the_runs_own_plan(seen):
    step = PLANS["curves"][0]["steps"][2]
    assert_shows(seen["sliders"]["tolerance"]["start"], step, step["plans"][0])


def test_other_candidates_of_a_target_can_be_looked_at(seen):
    step = PLANS["curves"][1]["steps"][0]
    assert [panel["candidates"] for panel in seen["sliders"]["target"]["moved"]] == [1, 2]
    assert_shows(seen["sliders"]["target"]["other"], step, step["plans"][1])


def test_every_chart_is_drawn_on_every_screen(seen):
    names = {"tolerance-layers", "sensitivity-chart", "target-chart", "target-layers", "layers-chart", "score-chart"}
    for screen, charts in seen["drawn"].items():
        colours = dict(charts)
        assert names | {"loss-chart"} == colours.keys() and min(colours.values()) > 10, screen
        assert not seen["wider"][screen], f"{screen}: wider than the screen"


def test_there_are_no_errors_and_nothing_is_asked_of_the_network(seen):
    assert not seen["faults"]
    assert all(address.startswith(("file:", "data:")) for address in seen["requests"])


def test_from_a_dark_screen_it_prints_on_white(seen):
    printed, shown = (cv2.imread(str(seen["folder"] / name)) for name in ("dark_print.png", "dark.png"))
    assert np.median(shown) < 60, "control: the screen is dark"
    assert printed[:, 0].mean() > 250, "the margin"
    assert np.median(printed) > 250


def test_what_a_run_lacks_is_no_error(tmp_path):
    page = write_report(write_run(tmp_path, "plans.json", "latest.json", "sen.json", "samples.json"))
    found = looked_at(page, tmp_path, {})
    assert not found["faults"] and [name for name, _ in found["drawn"]["desktop"]] == ["layers-chart"]


def test_what_compress_wrote_fits_a_phone(tmp_path):
    long = f"ocrslim compress {'/a_long_name_of_a_folder' * 12}/rec.onnx --images lines --out small"
    write_files(tmp_path, {"compress.json": {**COMPRESS, "command": long}})
    found = looked_at(write_report(tmp_path), tmp_path, {})
    assert not found["faults"] and not any(found["wider"].values())
