"""The page of a run: its numbers are those of the files, it needs no network, and says what a run does not have."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from run_folder import BEST, COMPRESS, COSTS, FILES, PLANS, SENSITIVITY, write_files, write_run

from ocrslim.errors import ArtifactError
from ocrslim.report import write_report

MIB = 1 << 20
_ADDRESSES = ("src", "href", "action", "data", "xlink:href")


class _Page(HTMLParser):
    """The text of each element with an id, the facts, the data, and all addresses of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.facts: dict[str, list[float]] = {}
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self._fact = self._skip = ""
        self.data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[0])
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.addresses += [found[name] or "" for name in _ADDRESSES if name in found]
        if "data-fact" in found:
            self._fact = found["data-fact"]
            self.facts[self._fact] = []
        if "data-value" in found and self._fact:
            self.facts[self._fact].append(float(found["data-value"]))
        self._skip = tag if tag in ("script", "style") else self._skip

    def handle_endtag(self, tag):
        self._fact = "" if tag == "tr" else self._fact
        self._skip = "" if tag == self._skip else self._skip

    def handle_data(self, data):
        self.text += "" if self._skip else data


def page_of(folder):
    return _Page(write_report(folder).read_text(encoding="utf-8"))


def words(page):
    return " ".join(page.text.split())


def test_the_numbers_are_those_of_the_files(tmp_path):
    page = page_of(write_run(tmp_path))
    assert page.facts["macs"] == COSTS["macs"] and page.facts["params"] == COSTS["params"]
    assert page.facts["score"] == [SENSITIVITY["baseline"]["hmean"], BEST["hmean"]]
    assert page.data["plans"]["curves"] == PLANS["curves"]
    assert [layer["macs"] for layer in page.data["costs"]["layers"]] == [one["macs"] for one in COSTS["layers"]]
    assert page.data["training"]["scores"] == [[0, 0.75], [48, 0.8375]] and len(page.data["training"]["curve"]) == 48
    assert page.data["sensitivities"][2] == {"name": "neck.weight", "points": [[0.1, 0.001], [0.5, 0.2]]}
    text = words(page)
    assert "Milliseconds are predicted for 1 thread of Paddle Inference; 2.5 ms lie outside the layers." in text
    assert "neck.weight16x3x3x3 → 12x3x3x3120903.753.00" in text.replace("\u00d7", "x")  # the table of the layers
    assert "12 % fewer multiply-accumulates, hmean 0.8125 → 0.8375" in text
    assert "sensitive: loses more than Prune.skip_loss 0.02 1 conv1_weights loses 0.0409 at ratio 0.1" in text
    for value in ("0.1.0", "a processor", "1024", "d3bbea44", "640b2813", "400b248b", "da45dc14"):
        assert value in text
    assert f"ocrslim prune -c {tmp_path}/config.yml" in text


def test_plans_that_competed_are_listed_with_their_scores(tmp_path):
    text = "".join(page_of(write_run(tmp_path)).text.split())
    assert "by<errors>712.3%0.77710.8101,0.8202" in text
    assert "sensitivitytabletaken913.4%0.78810.8303" in text and "thelast812.9%0.5551\u2013" in text
    (tmp_path / "earlier").mkdir()
    assert "Plans that competed" not in words(page_of(write_run(tmp_path / "earlier", plans={"candidates": []})))


def test_times_and_sizes_of_exports_come_from_bench(tmp_path):
    rows = [
        {
            "runtime": runtime,
            "threads": 1,
            "size": [736, 1280],
            "export": name,
            "wall_ms": {"median": ms},
            "bytes": size,
        }
        for runtime, factor in (("paddle", 1), ("openvino", 2))
        for name, ms, size in (("unpruned", 112.0 * factor, 2_000_000), ("pruned", 84.0 * factor, 1_000_000))
    ]
    assert "No times are measured" in words(page_of(write_run(tmp_path)))
    page = page_of(write_files(tmp_path, {"bench.json": {"rows": rows}}))
    assert page.facts["time paddle 1 736x1280"] == [112, 84] and page.facts["time openvino 1 736x1280"] == [224, 168]
    assert page.facts["bytes"] == [2_000_000, 1_000_000] and "25 % less time" in words(page)


def test_a_collapse_is_told(tmp_path):
    said = "too much was pruned: hmean is down to"
    assert said not in words(page_of(write_run(tmp_path)))
    assert f"{said} 0.4000" in words(page_of(write_run(tmp_path, best_accuracy={"hmean": 0.4})))


def test_agreement_is_not_shown_as_a_score_by_labels(tmp_path):
    said = "against what the unpruned network finds, as there are no labels"
    assert said not in words(page_of(write_run(tmp_path)))
    (tmp_path / "predicted_labels").mkdir()
    (tmp_path / "predicted_labels/eval.txt").touch()
    assert said in words(page_of(tmp_path))


def test_differences_between_the_networks_are_marked(tmp_path):
    text = write_report(write_run(tmp_path)).read_text(encoding="utf-8")
    shown = re.findall(r'<polygon class="(\w+)"', text)
    assert shown == ["both", "lost", "both", "new"]
    assert "In 2 of 3 images both networks find the same" in text and "a.png" in text


def test_nothing_is_asked_of_the_network(tmp_path):
    path = write_report(write_run(tmp_path))
    page = page_of(tmp_path)
    assert page.addresses and all(address.startswith(("#", "data:")) for address in page.addresses)
    style = re.findall(r"<style>(.*?)</style>", path.read_text(encoding="utf-8"), re.S)[0]
    assert "url(" not in style and "@import" not in style
    assert "sourceMappingURL" not in path.read_text(encoding="utf-8")
    assert "iframe" not in page.tags and path.stat().st_size < 5 * MIB


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("plans.json", "The plans are not recorded here"),
        ("costs.json", "Costs layer by layer are not recorded here"),
        ("latest.json", "Nothing is trained here"),
        ("samples.json", "No sample images are recorded"),
        ("best_accuracy.plan.json", "head.weight"),  # the analysis tells as well
        ("best_accuracy.json", "There is no pruned checkpoint here yet"),
    ],
)
def test_says_what_a_run_does_not_have(without, said, tmp_path):
    assert said not in words(page_of(write_run(tmp_path / "whole"))) or without.endswith("plan.json")
    assert said in words(page_of(write_run(tmp_path / "part", without)))


@pytest.fixture(autouse=True)
def _folders(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "part").mkdir()


def test_an_analysis_alone_is_a_run(tmp_path):
    page = page_of(write_files(tmp_path / "part", {"sen.json": SENSITIVITY}))
    assert "Nothing is pruned yet" in page.text and len(page.data["sensitivities"]) == 3 and not page.data["plans"]


def test_what_compress_wrote(tmp_path):
    write_files(tmp_path, {"compress.json": COMPRESS})
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run", "sen.json", "samples.json")
    page = page_of(tmp_path)
    text = words(page)
    assert "25 % less time at 99 % agreement." in text and "worth it" in text and "try --minutes 20" in text
    assert page.facts["bytes"] == [10_000_000, 7_000_000] and page.facts["agreement"] == [1.0, 0.99]
    assert page.facts["time onnxruntime 1 48x320"] == [12.0, 9.0]
    assert "38 % fewer multiply-accumulates, 25 % less time, agreement 0.9900" in text
    assert "1 thread, CPU time 11.0 rewritten, without pruning" in text
    assert "macs 0.3 taken31.0 %20.0 %0.9900macs 0.4545.2 %\u20130.9500" in text
    assert "95 % interval 0.9700 to 1.0000, 120 images held out" in text
    assert COMPRESS["command"] in text and "ab12" in text and "cd34" in text
    assert page.data["plans"]["curves"] == PLANS["curves"]  # of its run
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'<mark class="(\w+)">(.*?)</mark>', html) == [("lost", "9"), ("new", "4")]


def test_what_compress_wrote_where_nothing_is_pruned(tmp_path):
    """A model that bears no pruning is only rewritten: `pruned` is null."""
    same = {"before": COMPRESS["costs"]["before"], "after": COMPRESS["costs"]["before"]}
    write_files(tmp_path, {"compress.json": {**COMPRESS, "pruned": None, "costs": same}})
    text = words(page_of(tmp_path))
    assert "25 % less time, agreement 0.9900" in text
    assert "0 % fewer" not in text


def test_images_do_not_make_the_page_large(tmp_path):
    write_run(tmp_path)
    content = json.loads((tmp_path / "samples.json").read_text(encoding="utf-8"))
    content["samples"] = [{**content["samples"][0], "image": f"samples/{i}.png"} for i in range(9)]
    write_files(tmp_path, {"samples.json": content})
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    for i in range(9):
        Image.fromarray(noise).save(tmp_path / f"samples/{i}.png", compress_level=0)
    path = write_report(tmp_path)
    assert path.stat().st_size < 5 * MIB and path.read_text(encoding="utf-8").count("<image ") == 6


def test_without_a_latency_model_milliseconds_are_said_to_be_unknown(tmp_path):
    layers = [{key: value for key, value in layer.items() if key != "ms"} for layer in COSTS["layers"]]
    page = page_of(write_run(tmp_path, costs={"layers": layers, "place": None, "rest_ms": None}))
    assert "Milliseconds by layer need a latency model of this machine" in words(page)


def test_names_are_text_and_no_markup(tmp_path):
    evil = '</script><script>alert("x")</script>'
    layers = [{**layer, "name": evil} for layer in COSTS["layers"]]
    page = page_of(write_run(tmp_path, costs={"layers": layers}))
    assert page.tags.count("script") == 3 and evil in page.text
    assert page.data["costs"]["layers"][0]["name"] == evil


@pytest.mark.parametrize("name", [*FILES, "compress.json"])
def test_a_damaged_file_is_named(name, tmp_path):
    write_run(tmp_path)
    (tmp_path / name).write_text('{"schema": 1, "size"', encoding="utf-8")
    with pytest.raises(ArtifactError, match=rf"{re.escape(name)}: not readable as JSON.*run ocrslim \w+"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_value_of_a_wrong_type_is_named(tmp_path):
    write_run(tmp_path, costs={"macs": [1, "many"]})
    with pytest.raises(
        ArtifactError, match=r'costs.json: damaged: macs.1 is "many": .*delete it and run ocrslim prune'
    ):
        write_report(tmp_path)


@pytest.mark.parametrize("name", ["plans", "costs", "samples", "latest"])
def test_a_run_of_a_newer_ocrslim_is_refused(name, tmp_path):
    write_run(tmp_path, **{name: {"schema": 2, "removed": "something else"}})
    with pytest.raises(ArtifactError, match=rf"{name}.json: schema 2, and this ocrslim reads up to 1: .*--upgrade"):
        write_report(tmp_path)


def test_a_folder_without_a_run_says_what_was_looked_for(tmp_path):
    with pytest.raises(ArtifactError, match=r"part: holds no run: none of compress.json, sen.json, .*ocrslim prune"):
        write_report(tmp_path / "part")
    with pytest.raises(ArtifactError, match="nowhere: not found; expected the folder of a run"):
        write_report(tmp_path / "nowhere")


def test_images_outside_the_folder_are_not_shown(tmp_path):
    write_run(tmp_path / "part")
    content = json.loads((tmp_path / "part/samples.json").read_text(encoding="utf-8"))
    content["samples"][0]["image"] = "../secret.jpg"
    write_files(tmp_path / "part", {"samples.json": content})
    with pytest.raises(ArtifactError, match=r"'../secret.jpg' lies outside this folder"):
        write_report(tmp_path / "part")


def test_the_report_does_without_paddle():
    code = "import sys, ocrslim.report; sys.exit('paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
