"""The end of a program: the layers that the output has passed through, and a softmax that it ends in."""

from __future__ import annotations

import pytest
from file_networks import Classifier, Detector, Recogniser, exported, imported
from small_export import FORMATS

from ocrslim.graph import Op, Program, Value, tail_readers, without_softmax


@pytest.fixture(params=FORMATS)
def program(request, tmp_path):
    def of(network):
        return imported(exported(network, tmp_path, request.param)).program

    return of


def shapes(program: Program, readers):
    """Of each reader the size of the axis that reads, and the axis."""
    known = {value.parameter: value.shape for op in program.ops for value in op.values() if value.parameter}
    return [(known[key][axis], axis) for key, axis in readers]


def test_the_way_back_ends_where_levels_come_together(program):
    detector = program(Detector)
    assert shapes(detector, tail_readers(detector, detector.outputs[0])) == [(14, 1)]  # 8 and 6 channels in a row


def test_the_last_layer_comes_first(program):
    recogniser, classifier = program(Recogniser), program(Classifier)
    assert shapes(recogniser, tail_readers(recogniser, recogniser.outputs[0])) == [(16, 0)]  # a residual is behind it
    assert shapes(classifier, tail_readers(classifier, classifier.outputs[0])) == [(8, 0), (3, 1)]


def test_a_softmax_at_the_end_is_left_out_and_nothing_else(program):
    for network in (Recogniser, Classifier):
        found = program(network)
        (logits,) = without_softmax(found)
        (maker,) = [op for op in found.ops if any(value.id == logits.id for value in op.outputs)]
        assert maker.name == "add" and logits.shape == found.outputs[0].shape
    detector = program(Detector)
    assert without_softmax(detector) == list(detector.outputs)


@pytest.mark.parametrize(
    ("axis", "behind", "left_out"),
    [
        (-1, None, True),
        (1, None, False),  # not over the classes
        (-1, {"scale": 1.0, "bias": 0.0}, True),  # as older exports end
        (-1, {"scale": 2.0, "bias": 0.0}, False),
    ],
)
def test_what_counts_as_a_softmax_at_the_end(axis, behind, left_out):
    x, y, z = (Value(number, (1, 5, 7)) for number in range(3))
    ops = [Op("softmax", {"x": x}, [y], {"axis": axis})]
    if behind is not None:
        ops.append(Op("scale", {"x": y}, [z], behind))
    last = y if behind is None else z
    assert without_softmax(Program(ops, [x], [last])) == [x if left_out else last]
