"""The partition of a network around a group: what is handed over, and at what price something else is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain, combinations

import networks
import pytest
from networks import conv
from paddle import nn

from ocrslim.graph.frontends.dygraph import trace, traced
from ocrslim.graph.groups import ChannelGraph
from ocrslim.graph.program import Op, Program, Value
from ocrslim.inference.incremental.partition import Partition, part, split, unsplit

SHAPE = (1, 3, 8, 8)
FREE, USUAL, DEAR = 0.0, 85.0, 1e9
CHOSEN = (
    *("Plain", "Residual", "Concat", "Depthwise", "Grouped", "Transposed", "SqueezeExcite", "SpatialAttention"),
    *("SharedInput", "UsedTwice", "SharedOverScales", "OwnParameters", "PixelShuffled", "Slopes", "Norms"),
)


@dataclass
class Setting:
    """A traced network, its groups and the elements of its values for one pixel."""

    program: Program
    graph: ChannelGraph

    def __post_init__(self):
        values = [value for op in self.program.ops for value in op.outputs if value.shape is not None]
        self.sizes = {value.id: math.prod(value.shape) / math.prod(SHAPE[2:]) for value in values}

    def split(self, group: str, price: float = USUAL) -> Partition:
        return split(self.program, self.graph.groups[group], self.sizes, price)

    def constants(self) -> set[int]:
        """Values that no input goes into."""
        found: set[int] = set()
        for op in self.program.ops:
            if op.name != "data" and all(value.parameter or value.id in found for value in op.values()):
                found |= {value.id for value in op.outputs}
        return found


def setting(model: nn.Layer) -> Setting:
    model.eval()
    return Setting(traced(model, [SHAPE], training=False), trace(model, SHAPE))


@pytest.fixture(scope="module", params=CHOSEN)
def small(request) -> Setting:
    return setting(getattr(networks, request.param)())


def maker(program: Program, value: Value) -> str:
    """The operator that makes a value, and the parameter in it if there is one."""
    op = next(op for op in program.ops if value.id in {one.id for one in op.outputs})
    return " ".join([op.name, *(v.parameter for v in op.values() if v.parameter)][:2])


def handed_over(case: Setting, group: str, price: float = USUAL) -> dict[str, str | None]:
    """Maker of each source -> where its channels lie in a parameter, None where all stay."""
    partition = case.split(group, price)
    return {maker(case.program, s.value): s.member and str(s.member) for s in partition.sources}


def reads(ops: tuple[Op, ...]) -> set[int]:
    return {value.id for op in ops for value in op.values() if value.parameter is None}


def makes(ops: tuple[Op, ...]) -> set[int]:
    return {value.id for op in ops for value in op.outputs}


@pytest.mark.parametrize("price", [FREE, USUAL, DEAR], ids=["free", "usual", "dear"])
def test_the_sources_are_what_the_suffix_reads_and_the_prefix_makes(small, price):
    order = {id(op): place for place, op in enumerate(small.program.ops)}
    for group in small.graph.groups:
        partition = small.split(group, price)
        sources = [source.value.id for source in partition.sources]
        assert len(set(sources)) == len(sources), group
        assert reads(partition.suffix) - makes(partition.suffix) == {*sources}, group
        assert {*sources} <= makes(partition.prefix) and reads(partition.prefix) <= makes(partition.prefix), group
        assert {value.id for value in small.program.outputs} <= makes(partition.suffix), group
        for ops in (partition.prefix, partition.suffix):
            assert [order[id(op)] for op in ops] == sorted(order[id(op)] for op in ops), group


def test_whoever_reads_the_group_is_in_the_suffix(small):
    for name, group in small.graph.groups.items():
        readers = {member.key for member in group.members if member.role == "input"}
        for price in (FREE, DEAR):
            prefix = {value.parameter for op in small.split(name, price).prefix for value in op.values()}
            assert not readers & prefix, name


def test_a_higher_price_never_keeps_more(small):
    for group in small.graph.groups:
        kept = [small.split(group, price).elements(small.sizes) for price in (FREE, 5.0, 50.0, 500.0, DEAR)]
        assert kept == sorted(kept, reverse=True), group


def test_sliced_sources_name_a_member_that_keeps_what_surgery_keeps(small):
    for name, group in small.graph.groups.items():
        for source in small.split(name, FREE).sources:
            if source.member is None:
                assert source.keep([0]) is None
                continue
            assert source.member in group.members, name
            assert source.member.size == source.value.shape[1], name
            assert source.keep([0]) == tuple(sorted({*range(source.member.size)} - {*source.member.units[0]}))


def test_what_follows_channel_by_channel_stays_in_front():
    plain = setting(networks.Plain())
    assert handed_over(plain, "first.weight") == {"pool2d": "first.weight[0:8]"}
    assert handed_over(plain, "second.weight") == {"hardswish": "second.weight[0:6]"}
    own = setting(networks.OwnParameters())
    assert handed_over(own, "stem.weight") == {"multiply gain": "stem.weight[0:6]"}


def test_a_depthwise_layer_stays_in_front_unless_it_multiplies():
    assert handed_over(setting(networks.Depthwise()), "stem.weight") == {"relu6": "stem.weight[0:6]"}


def test_transposed_convolutions_hand_over_their_second_axis():
    assert handed_over(setting(networks.Transposed()), "up.weight", FREE) == {"relu": "up.weight[:, 0:8]"}


def test_a_bypass_is_handed_over_whole():
    case = setting(networks.Residual())
    assert handed_over(case, "one.weight", FREE) == {"relu": "one.weight[0:6]", "add": None}


def test_a_layer_used_twice_is_sliced_at_each_use():
    partition = setting(networks.SharedOverScales()).split("shared.weight")
    assert [str(source.member) for source in partition.sources] == ["shared.weight[0:4]"] * 2


def test_grouped_convolutions_are_run_again():
    """Their channels do not lie as the units say, or lose inputs."""
    case = setting(networks.Grouped())
    assert [source.member for source in case.split("few.weight", FREE).sources] == [None]


class Bottleneck(nn.Layer):
    """A wide map between narrow ones, cheap to make again."""

    def __init__(self):
        super().__init__()
        self.stem, self.expand, self.end = conv(3, 4), conv(4, 64, 1), conv(64, 2)

    def forward(self, x):
        return self.end(self.expand(self.stem(x)))


def test_the_price_decides_between_keeping_and_computing_again():
    case = setting(Bottleneck())
    # 64 numbers to keep, or 4 of them and (4 + 25 + 25) * 64 multiply-accumulates: even at about 57
    assert handed_over(case, "expand.weight", 30.0) == {"add": "expand.weight[0:64]"}
    cheap, usual = case.split("expand.weight", 30.0), case.split("expand.weight", USUAL)
    assert cheap.elements(case.sizes) == 64 and usual.elements(case.sizes) == 4
    assert case.split("expand.weight", DEAR).elements(case.sizes) == 3
    assert handed_over(case, "expand.weight", DEAR) == {"data": None}


@pytest.mark.parametrize("name", ["Residual", "SharedInput", "SpatialAttention", "Bottleneck"])
def test_no_other_partition_costs_less(name):
    """Every set of operators to run again, tried one by one."""
    case = setting(Bottleneck() if name == "Bottleneck" else getattr(networks, name)())
    constants = case.constants()
    computing = [op for op in case.program.ops if op.name != "data" and not makes((op,)) <= constants]

    def cost(behind: tuple[Op, ...], price: float) -> float:
        products = {
            op.outputs[0].id: math.prod(op.inputs["filter"].shape[1:]) for op in behind if "filter" in op.inputs
        }
        made = makes(behind) - constants
        fed = reads(behind) - made - constants
        size = {**case.sizes, **{value.id: 3.0 for value in case.program.inputs}}
        return sum(size[v] * (products.get(v, 0) + 25) for v in made) + price * sum(size[v] for v in fed)

    for group in case.graph.groups:
        must = split(case.program, case.graph.groups[group], case.sizes, FREE).suffix
        free = [op for op in computing if id(op) not in {id(one) for one in must}]
        must = tuple(op for op in computing if id(op) in {id(one) for one in must})
        subsets = chain.from_iterable(combinations(free, n) for n in range(len(free) + 1))
        choices = [(*must, *subset) for subset in subsets]
        for price in (10.0, USUAL, 1000.0):
            back = tuple(op for op in case.split(group, price).suffix if op in computing)
            assert cost(back, price) <= min(cost(choice, price) for choice in choices) * (1 + 1e-6), (group, price)


class Idle(nn.Layer):
    """What `side` makes is lost on the way to the output."""

    def __init__(self):
        super().__init__()
        self.stem, self.side, self.far, self.end = conv(3, 8), conv(3, 6), conv(6, 4), conv(8, 2)

    def forward(self, x):
        self.far(self.side(x))
        return self.end(self.stem(x))


def test_a_group_that_does_not_reach_the_output_leaves_it_to_the_prefix():
    case = setting(Idle())
    assert "side.weight" in case.graph.groups
    for price in (FREE, USUAL, DEAR):
        partition = case.split("side.weight", price)
        assert partition.suffix == ()
        assert [source.value for source in partition.sources] == list(case.program.outputs)
        assert {value.id for value in case.program.outputs} <= makes(partition.prefix)
        prefix = {value.parameter for op in partition.prefix for value in op.values()}
        assert "end.weight" in prefix and "far.weight" not in prefix


def test_unsplit_everything_is_in_the_suffix():
    program = setting(networks.Plain()).program
    partition = unsplit(program)
    assert partition.prefix == () and list(partition.suffix) == list(program.ops)
    assert [source.value for source in partition.sources] == list(program.inputs)


def test_a_part_holds_no_operator_too_many():
    program = setting(networks.Residual()).program
    relu = next(op for op in program.ops if op.name == "relu")
    last = program.ops[-1]
    between = part(program.ops, last.outputs, [relu.outputs[0].id])
    assert relu not in between and last in between
    assert part(program.ops, last.outputs, [last.outputs[0].id]) == []
