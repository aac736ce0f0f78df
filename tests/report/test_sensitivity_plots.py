"""The picture of a sensitivity analysis says what the table says, legibly, however much of it there is."""

from __future__ import annotations

import itertools
import math
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from slow import quick

from ocrslim.errors import ArtifactError
from ocrslim.report.plots import DPI, SensitivityPicture, draw_sensitivities
from ocrslim.report.plots.heat_map import heat_map
from ocrslim.report.plots.loss_curves import small_multiples
from ocrslim.report.plots.scale import Scale, number
from ocrslim.report.plots.sensitivity_data import KINDS

RATIOS = [round(0.1 * i, 1) for i in range(1, 10)]
LONG = "backbone.stage3.2.some_very_long_block_name.linear_conv.conv.weight_of_it"
DRAWINGS = pytest.mark.parametrize("draw", [heat_map, small_multiples])


class Point(NamedTuple):
    ratio: float
    loss: float
    low: float
    high: float
    images: int = 20
    how: str = "measured"


def point(ratio: float, loss: float, how: str = "measured") -> Point:
    width = 0.0 if how == "measured" else 0.03
    return Point(ratio, loss, loss - width, loss + width, how=how)


def layers(count: int, seed: int = 0) -> dict[str, list[Point]]:
    """Noisy losses that rise early or late, some points measured, some sampled, some inferred."""
    rng = np.random.default_rng(seed)
    names = [f"conv{2 + i // 3}_{('expand', 'depthwise', 'linear')[i % 3]}_weights" for i in range(count)]
    found = {}
    for name in names:
        middle = rng.uniform(0.1, 1.1)
        losses = [float(1 / (1 + math.exp(-8 * (r - middle))) + rng.normal(0, 0.02)) for r in RATIOS]
        found[name] = [point(r, loss, KINDS[rng.integers(3)]) for r, loss in zip(RATIOS, losses)]
    return found


def picture(found: dict[str, list[Point]], tolerance: float = 0.02, **more) -> SensitivityPicture:
    return SensitivityPicture(found, tolerance, "hmean", 0.4663, 20, **more)


def full(found: dict[str, list[Point]]) -> SensitivityPicture:
    """With a choice and a share of the MACs for every layer."""
    chosen = {name: round(0.9 * i / len(found), 3) for i, name in enumerate(found)}
    return picture(found, chosen=chosen, macs_share={name: (i + 1) / 2000 for i, name in enumerate(found)})


def tagged(figure: Figure, gid: str, kind: str = "") -> list:
    return [a for a in figure.findobj(lambda a: a.get_gid() == gid) if kind in type(a).__name__]


def names_drawn(figure: Figure) -> list[str]:
    """The layers' labels from top left to bottom right, without the number that a panel's begins with."""
    texts = [a.get_text().replace("\n", "") for axes in figure.axes for a in axes.texts if a.get_gid() == "layer"]
    return [text.split(" ", 1)[-1] for text in texts]


def extents(figure: Figure) -> list[tuple[str, object]]:
    """Every visible text with its box in pixels."""
    figure.dpi = DPI
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    hidden = switched_off(figure)
    shown = [a for a in figure.findobj(Text) if a.get_visible() and a.get_text().strip() and id(a) not in hidden]
    return [(a.get_text(), a.get_window_extent(renderer)) for a in shown]


def switched_off(figure: Figure) -> set[int]:
    """Tick labels that exist but are not drawn, by identity: all but those in view of their axis."""
    axis = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    ticks = [(tick, tick in one._update_ticks()) for one in axis for tick in one.get_major_ticks()]
    return {id(t) for tick, drawn in ticks for t in (tick.label1, tick.label2) if not drawn or not t.get_visible()}


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    boxes = extents(figure)
    return [(a, b) for (a, one), (b, two) in itertools.combinations(boxes, 2) if touches(one, two)]


def touches(one, two) -> bool:
    wide = min(one.x1, two.x1) - max(one.x0, two.x0)
    high = min(one.y1, two.y1) - max(one.y0, two.y0)
    return wide > 0.5 and high > 1.5  # pixels: descents and line spacing are part of a box


CASES = {
    "8 layers": full(layers(8)),
    "29 layers": full(layers(29)),
    "37 layers, nothing chosen": picture(layers(37)),
    "60 layers": full(layers(60)),
    "one layer, one point": picture({"conv10_expand_weights": [point(0.1, 0.034)]}),
    "a long name": full({**layers(5), LONG: [point(0.5, 0.3)]}),
    "interrupted": full({**layers(7), "neck.p2_conv.weight": [], "conv_last_weights": [point(0.1, -0.03)]}),
    "before the first point": full(dict.fromkeys(layers(9), ())),
    "no layer": picture({}),
    "tolerance 0": picture(layers(6), tolerance=0.0),
    "tolerance 1": picture(layers(6), tolerance=1.0),
    "better than the baseline": picture({"conv3_expand_weights": [point(r, -0.1) for r in RATIOS]}),
}


@pytest.mark.parametrize(
    "case", quick(["60 layers", "one layer, one point", "interrupted", "no layer"], ["interrupted", "no layer"])
)
def test_two_pngs_of_a_sensible_size(tmp_path, case):
    written = draw_sensitivities(CASES[case], tmp_path / "sen.png")
    assert sorted(tmp_path.iterdir()) == sorted(written) == [tmp_path / "sen.png", tmp_path / "sen_curves.png"]
    for path in written:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert 700 <= image.width <= 1500
            assert 150 <= image.height <= 500 + 30 * len(CASES[case].layers)


@DRAWINGS
@pytest.mark.parametrize("case", CASES)
def test_no_text_lies_on_another_or_leaves_the_page(draw, case):
    figure = draw(CASES[case])
    assert overlapping(figure) == []
    page = figure.bbox
    for text, box in extents(figure):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1, text


@DRAWINGS
def test_the_overlap_check_sees_overlaps(draw):
    figure = draw(CASES["8 layers"])
    figure.set_size_inches(*figure.get_size_inches() / 2)
    layer = {
        name for name in CASES["8 layers"].layers if any(name in text for pair in overlapping(figure) for text in pair)
    }
    assert len(layer) > 4


@DRAWINGS
@pytest.mark.parametrize(
    "case", quick(["60 layers", "a long name", "interrupted", "before the first point"], ["a long name", "interrupted"])
)
def test_every_layer_is_named_in_full_and_in_order(draw, case):
    assert names_drawn(draw(CASES[case])) == CASES[case].order()
    assert sorted(CASES[case].order()) == sorted(CASES[case].layers)


def test_layers_that_can_lose_most_come_first():
    found = {
        "flat": [point(0.1, 0.0), point(0.9, 0.01)],
        "waiting": [],
        "steep": [point(0.1, 0.9), point(0.9, 1.0)],
        "late": [point(0.1, 0.0), point(0.9, 1.0)],
    }
    assert picture(found).order() == ["flat", "late", "steep", "waiting"]
    assert picture(found, chosen={"late": 0.5, "steep": 0.7}).order() == ["steep", "late", "flat", "waiting"]


def test_points_in_any_order_give_the_same_picture():
    found = layers(4)
    turned = {name: points[::-1] for name, points in reversed(found.items())}
    assert picture(found).order() == picture(turned).order()
    assert segments(small_multiples(picture(found))) == segments(small_multiples(picture(turned)))


def segments(figure: Figure) -> list:
    return [axes.collections[0].get_segments()[-1].tolist() for axes in figure.axes]


@DRAWINGS
def test_measured_sampled_and_inferred_points_differ(draw):
    kinds = ["measured", "sampled", "inferred"]
    figure = draw(picture({"w": [point(r, 0.1 * r, how) for r, how in zip(RATIOS, kinds)]}))
    drawn = {how: tagged(figure, how) for how in kinds}
    if draw is heat_map:
        areas = [drawn[how][0].get_width() * drawn[how][0].get_height() for how in kinds]
        assert areas == sorted(areas, reverse=True) and len(set(areas)) == 3
    else:
        assert drawn["measured"][0].get_markerfacecolor() != drawn["sampled"][0].get_markerfacecolor()
        assert not drawn["inferred"]
        styles = figure.axes[0].collections[0].get_linestyle()
        assert styles[0] == styles[1] != styles[2]  # solid as far as it is measured or sampled


@DRAWINGS
def test_the_legend_explains_what_is_there_and_nothing_else(draw):
    table = {how: [point(0.1, 0.1, how)] for how in ("measured", "inferred")}
    said = " ".join(text for text, _ in extents(draw(picture(table))))
    assert "measured on all 20 images" in said and "inferred" in said
    assert "estimated" not in said and "ratio chosen" not in said
    assert "ratio chosen" in " ".join(text for text, _ in extents(draw(picture(table, chosen={"measured": 0.1}))))


def test_colours_break_at_the_tolerance_and_darken_with_the_loss():
    scale = Scale(picture(layers(3)))
    losses = [-0.5, 0.0, 0.01, 0.02, np.nextafter(0.02, 1), 0.05, 0.3, 1.0]
    grey = [float(np.dot(scale.colour(loss)[:3], (0.299, 0.587, 0.114))) for loss in losses]
    assert grey == sorted(grey, reverse=True)
    assert grey[3] - grey[4] > 0.1
    assert grey[0] == grey[1]


@DRAWINGS
@pytest.mark.parametrize("tolerance", [0.0, 0.001, 0.02, 0.1, 1.0])
def test_the_tolerance_is_drawn_where_it_is(draw, tolerance):
    figure = draw(picture(layers(3), tolerance=tolerance))
    lines = tagged(figure, "tolerance", "Line2D")
    if draw is small_multiples:
        assert [set(line.get_ydata()) for line in lines] == [{tolerance}] * 3
    else:
        assert len(lines) == 1
    assert any(f"tolerance {tolerance:g}" in text for text, _ in extents(figure))


def test_the_ratio_chosen_is_marked_where_it_is():
    found = {"a": [point(r, 0.1) for r in (0.1, 0.2, 0.5)], "b": [point(0.1, 0.5)], "c": [point(0.1, 0.6)]}
    shown = picture(found, chosen={"a": 0.35, "b": 0.0})
    bars = [line.get_xdata()[-1] for line in tagged(heat_map(shown), "chosen", "Line2D")]
    assert bars == pytest.approx([2.5, 0.0])  # the columns are 0, 0.1, 0.2, 0.5
    assert [line.get_xdata()[0] for line in tagged(small_multiples(shown), "chosen", "Line2D")] == [0.35, 0.0]


def test_tiles_tell_a_loss_from_the_tolerance():
    assert number(0.0203, 0.02) == "2.03"
    assert number(0.02, 0.02) == "2.0"
    assert number(0.9978, 0.02) == "100"
    assert number(-0.0001, 0.02) == "0.0"
    assert number(-0.0316, 0.02) == "\N{MINUS SIGN}3.2"


def test_the_axis_and_its_inverse_agree():
    scale = Scale(picture(layers(3)))
    losses = np.array([-0.3, -0.02, 0.0, 0.01, 0.02, 0.1, 1.0])
    assert np.allclose(scale._loss(scale._height(losses)), losses)
    assert (np.diff(scale._height(losses)) > 0).all()


@DRAWINGS
def test_a_loss_that_is_no_number_is_left_out_and_an_open_interval_is_cut(draw, tmp_path):
    found = {"w": [Point(0.1, 0.1, -math.inf, math.inf, 4, "sampled"), Point(0.2, math.nan, 0, 1, 0, "inferred")]}
    figure = draw(picture(found))
    assert len(tagged(figure, "sampled")) == 1 and not tagged(figure, "inferred")
    figure.savefig(tmp_path / "w.png")


@DRAWINGS
def test_a_name_is_no_formula(draw, tmp_path):
    name = r"odd$\frac$name"
    figure = draw(picture({name: [point(0.1, 0.1)]}))
    assert names_drawn(figure) == [name]
    figure.savefig(tmp_path / "w.png")


def test_drawn_in_threads_it_is_the_same(tmp_path):
    shown = CASES["8 layers"]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda i: draw_sensitivities(shown, tmp_path / f"{i}.png"), range(3)))
    for kind in ("", "_curves"):
        assert len({(tmp_path / f"{i}{kind}.png").read_bytes() for i in range(3)}) == 1


def test_a_failed_write_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "sen.png"
    draw_sensitivities(CASES["one layer, one point"], path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}

    def full_disk(figure, stream, **_):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(ArtifactError, match=r"sen\.png.*disk is full"):
        draw_sensitivities(CASES["8 layers"], path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_kill_amid_the_write_leaves_the_old_picture(tmp_path):
    path = tmp_path / "sen.png"
    draw_sensitivities(CASES["one layer, one point"], path)
    before = path.read_bytes()
    code = f"""
        import os, signal
        from pathlib import Path
        from matplotlib.figure import Figure
        from ocrslim.report.plots import SensitivityPicture, draw_sensitivities

        def killed(figure, stream, **_):
            stream.write(b"half")
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        Figure.savefig = killed
        draw_sensitivities(SensitivityPicture({{"w": []}}, 0.02, "hmean", 0.5, 4), Path({str(path)!r}))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
