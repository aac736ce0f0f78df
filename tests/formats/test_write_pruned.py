"""Models from files, written back with fewer channels in the format that they came in."""

import json
import shutil

import numpy as np
import pytest
from file_networks import (
    NETWORKS,
    Classifier,
    Detector,
    difference,
    exported,
    graph_of,
    image,
    imported,
    run,
    some_cuts,
    written_pruned,
    written_silenced,
)
from small_export import FORMATS

from ocrslim.errors import ArtifactError, PlanError
from ocrslim.formats import write_pruned
from ocrslim.formats.programs.program_check import read_program
from ocrslim.graph import read_inference_folder


@pytest.fixture(scope="module", params=[(name, kind) for name in NETWORKS for kind in FORMATS])
def case(request, tmp_path_factory):
    """A file, the network in it and its groups."""
    name, kind = request.param
    folder = exported(NETWORKS[name], tmp_path_factory.mktemp("files"), kind)
    model = imported(folder)
    return folder, model, graph_of(model)


@pytest.mark.parametrize("ratio", [0.3, 0.5])
def test_the_pruned_file_computes_what_the_silenced_one_does(case, tmp_path, ratio):
    folder, model, graph = case
    cuts = some_cuts(graph, ratio)
    pruned = written_pruned(folder, tmp_path / "pruned", model, cuts)
    silenced = written_silenced(folder, tmp_path / "silenced", model, graph, cuts)
    x = image()
    for onednn in (False, True):
        expected = run(silenced, x, onednn)
        assert difference(run(pruned, x, onednn), expected) < 1e-4
        assert difference(run(folder, x, onednn), expected) > 1e-3  # silencing is seen at all


def test_the_pruned_file_is_smaller_and_can_be_read_again(case, tmp_path):
    folder, model, graph = case
    cuts = some_cuts(graph, 0.5)
    pruned = written_pruned(folder, tmp_path / "pruned", model, cuts)
    sizes = [sum(array.size for array in read_inference_folder(one).arrays.values()) for one in (pruned, folder)]
    assert sizes[0] < sizes[1]
    again = graph_of(imported(pruned))
    assert {name: group.size for name, group in again.groups.items()} == {
        name: group.size - int(group.size * 0.5) for name, group in graph.groups.items()
    }


def test_operators_names_and_attributes_stay(case, tmp_path):
    folder, model, graph = case
    pruned = written_pruned(folder, tmp_path / "pruned", model, some_cuts(graph, 0.5))
    (program,) = (path for path in pruned.iterdir() if path.suffix in (".pdmodel", ".json"))
    before, after = (_outline(one / program.name) for one in (folder, pruned))
    assert [name for name, _ in before] == [name for name, _ in after]
    changed = {key for (_, old), (_, new) in zip(before, after) for key in old if old[key] != new[key]}
    assert changed <= {"groups", "shape", "value", "str_value", "input_size", "hidden_size"}


def _outline(path):
    """Each operator: its name with those of its values, and its attributes."""
    program = read_program(path)
    if path.suffix == ".json":
        return [
            (
                (op["#"], json.dumps(op["I"]), [made["%"] for made in op["O"]]),
                {attribute["N"]: attribute["AT"] for attribute in op["A"]},
            )
            for op in program.operations
            if op["#"] != "p"
        ]
    return [
        (
            (op.type, [list(slot.arguments) for slot in (*op.inputs, *op.outputs)]),
            {attribute.name: attribute.SerializeToString() for attribute in op.attrs},
        )
        for op in program.description.blocks[0].ops
    ]


def test_without_new_arrays_the_file_computes_exactly_the_same(case, tmp_path):
    folder, _, _ = case
    write_pruned(folder, tmp_path / "same", {}, {})
    np.testing.assert_array_equal(run(tmp_path / "same", image()), run(folder, image()))


@pytest.fixture(scope="module", params=FORMATS)
def detector(request, tmp_path_factory):
    return exported(Detector, tmp_path_factory.mktemp("files"), request.param)


def test_the_folder_of_the_source_is_not_written_to(detector):
    with pytest.raises(ArtifactError, match="expected another folder"):
        write_pruned(detector, detector / ".." / detector.name, {}, {})


def test_arrays_of_another_model_are_refused(detector, tmp_path):
    name, array = next(iter(read_inference_folder(detector).arrays.items()))
    with pytest.raises(PlanError, match=r"has no tensor other\.w_0"):
        write_pruned(detector, tmp_path / "out", {"other.w_0": array}, {})
    with pytest.raises(PlanError, match="axes"):
        write_pruned(detector, tmp_path / "out", {name: array[None]}, {})
    assert not (tmp_path / "out").exists()


def test_a_program_of_the_other_format_is_not_left_without_its_weights(detector, tmp_path):
    (program,) = (path for path in detector.iterdir() if path.suffix in (".pdmodel", ".json"))
    other = tmp_path / ("inference.json" if program.suffix == ".pdmodel" else "inference.pdmodel")
    other.write_bytes(b"")
    with pytest.raises(ArtifactError, match=other.name):
        write_pruned(detector, tmp_path, {}, {})


@pytest.mark.skipif("legacy" not in FORMATS, reason="this Paddle does not write the older format")
def test_shapes_that_do_not_go_together_are_refused_and_nothing_is_written(tmp_path):
    folder = exported(Detector, tmp_path, "legacy")
    name, array = next((n, a) for n, a in read_inference_folder(folder).arrays.items() if a.shape == (16, 8, 1, 1))
    with pytest.raises(ArtifactError, match="does not take the new shapes"):
        write_pruned(folder, tmp_path / "out", {name: array[:5]}, {})
    assert not (tmp_path / "out").exists()


def test_files_beside_the_weights_come_along(detector, tmp_path):
    source = shutil.copytree(detector, tmp_path / "source")
    (source / "inference.pdiparams.info").write_bytes(b"names")
    write_pruned(source, tmp_path / "out", {}, {})
    assert (tmp_path / "out" / "inference.pdiparams.info").read_bytes() == b"names"


def test_numbers_in_shapes_follow_the_channels(tmp_path):
    """Without that the classifier's only group would be fixed by its reshape, and the written file fail."""
    model = imported(exported(Classifier, tmp_path, FORMATS[-1]))
    (group,) = graph_of(model).groups.values()
    assert not group.fixed_by
