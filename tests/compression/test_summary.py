"""The table at the end, and the verdict below it."""

from __future__ import annotations

from ocrslim.compression import summary_text

SPREAD = {"median": 10.0, "low": 9.0, "high": 11.0}
RECORD = {
    "costs": {
        "before": {"bytes": 1000, "params": 200, "macs": 3000},
        "rewritten": {"bytes": 900},
        "after": {"bytes": 500, "params": 100, "macs": 1500},
    },
    "times": [
        {
            **{"runtime": "paddle", "threads": 1, "size": [64, 96], "ratio": 0.5, "ratio_rewritten": 0.8},
            **{"before": SPREAD, "rewritten": {**SPREAD, "median": 8.0}, "after": {**SPREAD, "median": 5.0}},
        }
    ],
    "agreement": {"metric": "hmean", "value": 0.99, "low": 0.98, "high": 1.0, "images": 12},
    "score": None,
    "verdict": {"kind": "worth it", "text": "It is faster.", "advice": ["try more"]},
}


def row(text: str, title: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(title)]
    return line[len(title) :].split()


def test_every_figure_of_the_record_is_in_the_table():
    text = summary_text(RECORD)
    assert row(text, "file, bytes") == ["1,000", "900", "500", "-50.0%"]
    assert row(text, "MACs") == ["3,000", "1,500", "-50.0%"]
    assert row(text, "ms, 1 thread, 64x96, paddle") == ["10.0", "8.0", "5.0", "-50.0%"]
    assert row(text, "agreement (hmean), 12 images") == ["1", "1", "0.9900", "[0.9800,", "1.0000]"]
    assert text.endswith("worth it: It is faster.\n- try more") and "by labels" not in text


def test_scores_by_labels_are_told_with_their_difference_in_points():
    score = {"metric": "hmean", "before": 0.91, "after": 0.9, "images": 12}
    assert row(summary_text({**RECORD, "score": score}), "hmean by labels, 12 images") == [
        "0.9100",
        "0.9000",
        "-1.0",
        "points",
    ]
