"""Which ratio each layer gets, and which layers are left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ocrslim.config.config import PruneOptions
from ocrslim.errors import ConfigError
from ocrslim.graph.groups import INPUT, OUTPUT, ChannelGraph, Group, Layer, Member
from ocrslim.pruning.layer_patterns import match_groups
from ocrslim.pruning.loss_rules import loss_at, ratio_by_loss
from ocrslim.selection.select import permitted, select

ARCHITECTURE = {
    "model_type": "det",
    "algorithm": "DB",
    "Transform": None,
    "Backbone": {"name": "MobileNetV3", "scale": 0.5, "model_name": "large", "disable_se": True},
    "Neck": {"name": "DBFPN", "out_channels": 96},
    "Head": {"name": "DBHead", "k": 50},
}
CONV4_LINEAR, CONV5_LINEAR = "backbone.stage0.2.linear_conv.conv.weight", "backbone.stage1.0.linear_conv.conv.weight"
CONV10_EXPAND, NECK = "backbone.stage2.2.expand_conv.conv.weight", "neck.in2_conv.weight"
BLOCKS = {"backbone.stage0.1.linear_conv.conv.weight": 3, CONV4_LINEAR: 4, CONV5_LINEAR: 5, CONV10_EXPAND: 10, NECK: 17}
DEPTHWISE = "backbone.stage2.2.bottleneck_conv.conv.weight"


def group(name, size, *others):
    units = tuple((index,) for index in range(size))
    return Group(name, tuple(Member(key, 0, size, units, OUTPUT) for key in (name, *others)))


GRAPH = ChannelGraph(
    {
        # conv3 and conv4 end in one residual sum: the group carries conv3's name and has conv4 as a member
        g.name: g
        for g in (
            group("backbone.stage0.1.linear_conv.conv.weight", 16, CONV4_LINEAR),
            group(CONV5_LINEAR, 24),
            group(CONV10_EXPAND, 96),
            group(NECK, 96),
        )
    },
    {"neck.p2_conv.weight": "meets concat"},
    tuple(Layer(key, (8, 8, 1, 1), 1, kind="convolution", block=block) for key, block in BLOCKS.items()),
)
FLAT = {0.1: 0.0, 0.3: 0.01, 0.5: 0.05}
TABLE = dict.fromkeys(GRAPH.groups, FLAT)


def choose(table=TABLE, **options):
    return select(GRAPH, table, PruneOptions(**options), ARCHITECTURE)


def test_blocks_close_to_the_input_are_left_alone_whatever_the_table_says():
    chosen = choose(skip_loss=1.0)
    assert set(chosen.ratios) == {CONV5_LINEAR, CONV10_EXPAND, NECK}
    assert "conv3_linear_weights" in chosen.skipped["backbone.stage0.1.linear_conv.conv.weight"]
    assert CONV5_LINEAR not in choose(skip_loss=1.0, skip_first=5).ratios
    assert len(choose(skip_loss=1.0, skip_first=0).ratios) == 4


def test_sensitive_layers_are_left_alone_with_their_loss():
    table = {**TABLE, NECK: {0.1: 0.5, 0.3: 0.5, 0.5: 0.0}}
    chosen = choose(table, skip_ratio=0.1, skip_loss=0.1)
    assert NECK not in chosen.ratios
    assert "0.5000 at ratio 0.1" in chosen.skipped[NECK]
    assert NECK in choose(table, skip_ratio=0.5, skip_loss=0.1).ratios


def test_names_match_by_glob_in_both_spellings():
    assert "Prune.skip" in choose(skip=("conv10_*",)).skipped[CONV10_EXPAND]
    assert "Prune.skip" in choose(skip=("backbone.stage2.*",)).skipped[CONV10_EXPAND]
    assert match_groups(GRAPH, ["neck.*", "conv10_expand*"], ARCHITECTURE, "x") == [CONV10_EXPAND, NECK]
    with pytest.raises(ConfigError, match=r"Prune.layers: \['conv99_\*'\].*conv10_expand_weights"):
        match_groups(GRAPH, ["conv99_*"], ARCHITECTURE, "Prune.layers")


def test_a_misspelt_layer_is_an_error_and_an_idle_pattern_a_warning(caplog):
    with pytest.raises(
        ConfigError, match=r"Prune.layers: 'conv10_expnd_weights'.*did you mean 'conv10_expand_weights'"
    ):
        match_groups(GRAPH, ["neck.*", "conv10_expnd_weights"], ARCHITECTURE, "Prune.layers")
    with pytest.raises(ConfigError, match=r"Prune.skip: 'nek.in2_conv.weight'.*'neck.in2_conv.weight'"):
        choose(skip=("nek.in2_conv.weight",))
    choose(skip=("nek.*",))
    assert "Prune.skip: 'nek.*' matches no layer" in caplog.text


def test_unmeasured_and_unprunable_layers_are_listed_with_their_reasons():
    chosen = choose({NECK: FLAT})
    assert set(chosen.ratios) == {NECK}
    assert chosen.skipped[CONV10_EXPAND] == "not in the sensitivity table"
    assert chosen.skipped["neck.p2_conv.weight"] == "meets concat"


def test_by_reconstruction_there_is_no_table_to_be_missing_from():
    attention = replace(GRAPH.groups[CONV10_EXPAND], summed=True)
    graph = replace(GRAPH, groups={**GRAPH.groups, CONV10_EXPAND: attention})
    options = PruneOptions(criterion="reconstruction", target={"macs": 0.05})
    skipped = select(graph, {CONV5_LINEAR: FLAT}, options, ARCHITECTURE).skipped
    assert "meet in a product that sums over them" in skipped[CONV10_EXPAND]
    assert "no layer that could be refitted reads its channels" in skipped[NECK]
    assert not any("table" in reason for reason in skipped.values())


def test_an_error_of_the_reconstruction_is_no_loss_that_skip_loss_limits():
    """It is another quantity: what limits it is the sum that the target is reached with."""
    options = PruneOptions(criterion="reconstruction", target={"macs": 0.05}, skip_first=0, skip_loss=0.001)
    table = {CONV5_LINEAR: FLAT, NECK: {0.1: 0.4, 0.5: 0.9}}
    assert not any("sensitive" in reason for reason in select(GRAPH, table, options, ARCHITECTURE).skipped.values())
    by_table = options.model_copy(update={"criterion": "fpgm", "target": None})
    assert "sensitive" in select(GRAPH, table, by_table, ARCHITECTURE).skipped[NECK], "the control"


def test_why_nothing_is_removed_is_told_apart():
    assert "Prune.loss_tolerance 0.001" in choose({NECK: {0.1: 0.01}}, loss_tolerance=0.001).skipped[NECK]
    assert "Prune.align" in choose({NECK: {0.1: 0.01}}, align=64).skipped[NECK]


@pytest.mark.parametrize(
    ("losses", "tolerance", "ratio"),
    [
        ({0.1: 0.0, 0.3: 0.04}, 0.02, 0.2),  # half way between the measured points
        ({0.1: 0.0, 0.3: 0.01}, 0.02, 0.3),  # the last point is within
        ({0.1: 0.05, 0.3: 0.9}, 0.02, 0.0),  # none is within
        ({0.1: 0.9, 0.3: 0.01, 0.5: 0.03}, 0.02, 0.4),  # noisy: the largest ratio within counts
        ({}, 0.02, 0.0),
    ],
    ids=["between", "last", "none", "noisy", "empty"],
)
def test_ratio_by_loss_is_paddleslims_rule(losses, tolerance, ratio):
    assert ratio_by_loss(losses, tolerance) == pytest.approx(ratio)


def kept_channels(group, ratio, **options):
    """Channels of the master that stay at the ratio that is permitted, by the pruner's rounding."""
    removed = round(group.size * permitted(ratio, group, PruneOptions(**options)))
    return group.master.size - sum(len(unit) for unit in group.master.units[:removed])


@pytest.mark.parametrize(
    ("ratio", "size", "align", "kept"),
    [(0.3, 96, 8, 72), (0.25, 96, 8, 72), (0.99, 96, 8, 8), (0.3, 96, None, 67), (0.05, 96, 8, 96), (0.5, 10, 8, 8)],
)
def test_alignment_never_removes_more_than_was_chosen(ratio, size, align, kept):
    assert kept_channels(group("w", size), ratio, align=align) == kept


def wide(count, width, fixed=0):
    """A group whose units hold `width` channels of the master each, `fixed` more of which always stay."""
    units = tuple(tuple(range(width * index, width * (index + 1))) for index in range(count))
    return Group("w", (Member("w", 0, count * width + fixed, units, OUTPUT),))


@pytest.mark.parametrize(
    ("group", "ratio", "align", "kept"),
    [
        (wide(32, 4), 0.29, 8, 96),  # 23 of 32 units would be 92
        (wide(24, 3), 0.5, 8, 48),  # every eighth unit
        (wide(16, 1, fixed=8), 0.5, 8, 16),  # those that always stay count
        (wide(20, 2, fixed=1), 0.5, 8, 21),  # never a multiple: as close as chosen
        (wide(3, 2), 0.5, 8, 6),  # smaller than a step: left alone
    ],
    ids=["two units a step", "eight units a step", "with some that stay", "no multiple at all", "under a step"],
)
def test_alignment_counts_channels_where_units_hold_several(group, ratio, align, kept):
    assert kept_channels(group, ratio, align=align) == kept


@pytest.mark.parametrize(
    ("group", "floor", "kept"),
    [(group("w", 16), 1, 2), (group("w", 16), 4, 4), (group("w", 16), 99, 16), (wide(8, 2), 5, 6)],
    ids=["default", "floor", "fewer than the floor", "units of two"],
)
def test_a_floor_of_channels(group, floor, kept):
    assert kept_channels(group, 0.9, min_channels=floor) == kept


def test_floor_and_alignment_hold_together():
    assert kept_channels(group("w", 64), 0.9, align=8, min_channels=20) == 24
    assert "Prune.min_channels" in choose({NECK: {0.1: 0.0}}, min_channels=96).skipped[NECK]


def test_loss_between_measured_ratios_is_interpolated():
    assert loss_at({0.2: 0.4}, 0.1) == pytest.approx(0.2)
    assert loss_at({0.1: 0.0, 0.3: 0.4}, 0.2) == pytest.approx(0.2)
    assert loss_at({0.1: 0.0, 0.3: 0.4}, 0.9) == pytest.approx(0.4)


READS = "head.binarize.conv1.weight"


def reads_and_follows():
    """A layer that reads a group's channels, and one that loses its own with them."""
    units = tuple((index,) for index in range(96))
    follows = Member(DEPTHWISE, 0, 96, units)
    return replace(
        GRAPH,
        groups={
            CONV10_EXPAND: replace(GRAPH.groups[CONV10_EXPAND], members=(GRAPH.groups[CONV10_EXPAND].master, follows)),
            NECK: replace(GRAPH.groups[NECK], members=(GRAPH.groups[NECK].master, Member(READS, 1, 96, units, INPUT))),
        },
    )


@pytest.mark.parametrize("pattern", ["head.*", READS])
def test_skipping_a_layer_leaves_what_it_reads_free(pattern, caplog):
    chosen = select(reads_and_follows(), TABLE, PruneOptions(skip=(pattern, "conv10_depthwise_weights")), ARCHITECTURE)
    assert set(chosen.ratios) == {NECK}
    assert "conv10_depthwise_weights" in chosen.skipped[CONV10_EXPAND]
    assert not caplog.records, "the name is known, though it frees nothing"


def test_a_block_close_to_the_input_does_not_hold_what_it_reads():
    units = tuple((index,) for index in range(96))
    late = replace(GRAPH.groups[NECK], members=(GRAPH.groups[NECK].master, Member(CONV4_LINEAR, 1, 96, units, INPUT)))
    assert set(select(replace(GRAPH, groups={NECK: late}), TABLE, PruneOptions(), ARCHITECTURE).ratios) == {NECK}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "conv10_depthwise_weights",
            "'conv10_depthwise_weights' belongs to the group of conv10_expand_weights: name that",
        ),
        (DEPTHWISE, "belongs to the group of conv10_expand_weights: name that"),
        ("neck.p2_conv.weight", "'neck.p2_conv.weight' cannot be pruned: meets concat"),
        (READS, "is no layer's name"),
    ],
    ids=["public", "key", "unprunable", "reads only"],
)
def test_a_layer_that_cannot_be_measured_by_its_name_says_why(name, message):
    with pytest.raises(ConfigError, match=f"Prune.layers: .*{message}"):
        match_groups(reads_and_follows(), [name], ARCHITECTURE, "Prune.layers")


def test_a_network_without_prunable_layers_is_said():
    with pytest.raises(ConfigError, match="Prune.layers: 'conv1' .*no prunable layer"):
        match_groups(ChannelGraph({}, {}), ["conv1"], ARCHITECTURE, "Prune.layers")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"align": 64}, "ratio 0.100 of 96 channels is less than a step of Prune.align 64"),
        ({"min_channels": 96}, "Prune.min_channels 96 does not allow removing any of 96 channels"),
        ({"align": 64, "min_channels": 96}, "Prune.min_channels 96 does not allow removing any of 96 channels"),
        ({"align": 1, "min_channels": 2, "loss_tolerance": 0.0001}, "ratio 0.001 of 96 channels is less than one"),
        (
            {"align": 8, "min_channels": 92},
            "Prune.align 8 and Prune.min_channels 92 together do not allow removing any of 96",
        ),
    ],
    ids=["align", "floor", "floor before align", "neither", "both together"],
)
def test_the_setting_that_keeps_all_channels_is_named_and_no_other(options, reason):
    found = choose({NECK: {0.1: 0.01}} if "loss_tolerance" not in options else {NECK: {0.001: 0.0}}, **options)
    assert reason in found.skipped[NECK]
    for setting in ("align", "min_channels"):
        assert (f"Prune.{setting}" in found.skipped[NECK]) == (f"Prune.{setting}" in reason)
