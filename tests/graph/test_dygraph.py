"""From networks to channel graphs: expected groups by name, the oracle on each, and what cannot be followed."""

from __future__ import annotations

import networks
import paddle
import paddle.nn.functional as F
import pytest
from oracle import assert_groups, judge, randomise, sample
from paddle import nn
from sketch import shown, units

from ocrslim.errors import GraphError
from ocrslim.graph.frontends.dygraph import trace
from ocrslim.graph.groups import ChannelGraph, Group
from ocrslim.pruning.channel_graph import channel_graph

IMAGE = (1, 3, 8, 8)


def norm(name, slices):
    return {f"{name}.{part}[{slices}]" for part in ("weight", "bias", "_mean", "_variance")}


def made(name, slices, axis=0):
    """The outputs of a layer with bias."""
    return {f"{name}.weight[{':, ' * axis}{slices}]", f"{name}.bias[{slices}]"}


# Every group of each network by its members; what the groups do to indices is in `INDICES`.
EXPECTED = {
    networks.Plain: {
        "first.weight": {*made("first", "0:8"), *norm("norm", "0:8"), "second.weight[:, 0:8]"},
        "second.weight": {*made("second", "0:6"), "end.weight[0:6]"},
    },
    networks.Residual: {
        "stem.weight": {*made("stem", "0:8"), *made("two", "0:8"), "one.weight[:, 0:8]", "end.weight[:, 0:8]"},
        "one.weight": {*made("one", "0:6"), "two.weight[:, 0:6]"},
    },
    networks.Concat: {
        "left.weight": {*made("left", "0:4"), *norm("norm", "0:4, 13:17"), "end.weight[:, 0:4, 13:17]"},
        "right.weight": {*made("right", "0:6"), *norm("norm", "7:13"), "end.weight[:, 7:13]"},
    },
    networks.Depthwise: {
        "stem.weight": {*made("stem", "0:6"), *made("same", "0:6"), *made("twice", "0:12"), "end.weight[:, 0:12]"},
    },
    networks.Grouped: {
        "stem.weight": {*made("stem", "0:8"), "few.weight[:, 0:4]"},
        "few.weight": {*made("few", "0:8"), *made("many", "0:12"), "end.weight[:, 0:12]"},
    },
    networks.Transposed: {
        "stem.weight": {*made("stem", "0:6"), "up.weight[0:6]"},
        "up.weight": {
            *made("up", "0:8", axis=1),
            *made("each", "0:8"),
            *("pairs.weight[0:8]", "pairs.bias[0:12]", "end.weight[:, 0:12]"),
        },
    },
    networks.SqueezeExcite: {
        "stem.weight": {
            *made("stem", "0:8"),
            *made("up", "0:8"),
            *made("wide", "0:8", axis=1),
            *("down.weight[:, 0:8]", "narrow.weight[0:8]", "end.weight[:, 0:8]"),
        },
        "down.weight": {*made("down", "0:4"), "up.weight[:, 0:4]"},
        "narrow.weight": {*made("narrow", "0:4", axis=1), "wide.weight[0:4]"},
    },
    networks.SpatialAttention: {
        "stem.weight": {*made("stem", "0:8"), "map.weight[:, 0:8]", "end.weight[:, 0:8]"},
    },
    networks.SharedInput: {
        "stem.weight": {*made("stem", "0:8"), "fine.weight[:, 0:8]", "coarse.weight[:, 0:8]"},
        "fine.weight": {*made("fine", "0:6"), *made("coarse", "0:6"), "end.weight[:, 0:6]"},
    },
    networks.Flattened: {
        "stem.weight": {*made("stem", "0:4"), "wide.weight[0:16]"},
        "wide.weight": {*made("wide", "0:6", axis=1), *norm("norm", "0:6"), "end.weight[0:6]"},
    },
    networks.SingleRecurrent: {
        "stem.weight": {*made("stem", "0:6"), "rnn.weight_ih_l0[:, 0:6]"},
        "rnn.weight_ih_l0": {
            *(f"rnn.{part}_l0[0:20]" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
            *("rnn.weight_hh_l0[:, 0:5]", "end.weight[0:5]"),
        },
    },
    networks.LastState: {
        "stem.weight": {*made("stem", "0:6"), "rnn.weight_ih_l0[:, 0:6]"},
        "rnn.weight_ih_l0": {
            *(f"rnn.{part}_l0[0:20]" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
            *("rnn.weight_hh_l0[:, 0:5]", "end.weight[0:5]", "cell.weight[0:5]"),
        },
    },
    networks.Shuffled: {
        "stem.weight": {*made("stem", "0:8"), *made("side", "0:4"), "side.weight[:, 0:4]", "end.weight[:, 0:8]"},
    },
    networks.PixelShuffled: {
        "stem.weight": {*made("stem", "0:16"), "middle.weight[:, 0:4]"},
        "middle.weight": {*made("middle", "0:6"), "end.weight[:, 0:24]"},
    },
    networks.Slopes: {
        "stem.weight": {*made("stem", "0:8"), "each._weight[0:8]", "middle.weight[:, 0:8]"},
        "middle.weight": {*made("middle", "0:6"), "end.weight[:, 0:6]"},
    },
    networks.Norms: {
        "a.weight": {*made("a", "0:6"), "instance.scale[0:6]", "instance.bias[0:6]", "b.weight[:, 0:6]"},
        "b.weight": {*made("b", "0:8"), "group.weight[0:8]", "group.bias[0:8]", "c.weight[:, 0:8]"},
    },
    networks.ChannelsLast: {
        "stem.weight": {
            *made("stem", "0:8"),
            *norm("norm", "0:8"),
            *made("each", "0:8"),
            *("slope._weight[0:8]", "mix.weight[0:8]"),
        },
        "mix.weight": {*made("mix", "0:6", axis=1), "end.weight[:, 0:6]"},
    },
    networks.Attention: {
        "stem.weight": {*made("stem", "0:6"), "query.weight[0:6]", "key.weight[0:6]", "value.weight[0:6]"},
        "query.weight": {*made("query", "0:8", axis=1), *made("key", "0:8", axis=1)},
        "value.weight": {*made("value", "0:5", axis=1), "end.weight[0:5]"},
    },
    networks.Transformer: {
        "attention.qkv.weight": {*made("attention.qkv", "0:24", axis=1), "attention.proj.weight[0:8]"},
        "wide.weight": {*made("wide", "0:16", axis=1), "narrow.weight[0:16]"},
    },
    networks.OneDimension: {
        "stem.weight": {*made("stem", "0:8"), *norm("norm", "0:8"), *made("each", "0:8"), "up.weight[0:8]"},
        "up.weight": {*made("up", "0:6", axis=1), "end.weight[:, 0:6]"},
    },
    networks.ThreeDimensions: {
        "stem.weight": {*made("stem", "0:8"), *norm("norm", "0:8"), "up.weight[0:8]"},
        "up.weight": {*made("up", "0:6", axis=1), "end.weight[:, 0:6]"},
    },
    networks.TwoInputs: {
        "left.weight": {*made("left", "0:8"), *made("right", "0:8"), "middle.weight[:, 0:8]"},
        "middle.weight": {*made("middle", "0:6"), "side.weight[:, 0:6]"},
    },
    networks.UsedTwice: {
        "left.weight": {
            *made("left", "0:6"),
            *made("right", "0:6"),
            *made("shared", "0:6"),
            *("shared.weight[:, 0:6]", "end.weight[:, 0:6]"),
        },
    },
    networks.SharedOverScales: {
        "stem.weight": {*made("stem", "0:6"), "shared.weight[:, 0:6]"},
        "shared.weight": {*made("shared", "0:4"), "end.weight[:, 0:4]"},
    },
    networks.Tied: {
        "stem.weight": {*made("stem", "0:6"), "code.weight[0:6]", "end.weight[0:6]"},
        "code.weight": made("code", "0:4", axis=1),
    },
    networks.OwnParameters: {
        "stem.weight": {*made("stem", "0:6"), "gamma[:, 0:6]", "beta[0:6]", "mask[0:6]", "end.weight[:, 0:6]"},
    },
    networks.Deformed: {
        "stem.weight": {*made("stem", "0:12"), "two.weight[:, 0:12]"},
        "two.weight": {*made("two", "0:6"), "few.weight[:, 0:6]", "one.weight[:, 0:6]"},
        "one.weight": {*made("one", "0:4"), "end.weight[:, 0:4]"},
    },
    networks.Embedded: {"table.weight": {"table.weight[:, 0:6]", "end.weight[0:6]"}},
    networks.NotRun: {
        "stem.weight": {*made("stem", "0:6"), "end.weight[:, 0:6]", "auxiliary.weight[:, 0:6]"},
    },
}
SHAPES = {networks.TwoInputs: (IMAGE, (1, 2, 8, 8))}
READS = {networks.Tied: {"code.weight": 1}}  # what no layer's type tells: used transposed, it reads along axis 1
INDICES = [
    (networks.Depthwise, "stem.weight", "twice.weight", 0, [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]),
    (networks.Grouped, "stem.weight", "stem.weight", 0, [[0, 4], [1, 5], [2, 6], [3, 7]]),
    (networks.Grouped, "stem.weight", "few.weight", 1, [[0], [1], [2], [3]]),
    (networks.Grouped, "few.weight", "few.weight", 0, [[0, 1, 4, 5], [2, 3, 6, 7]]),
    (networks.Grouped, "few.weight", "many.weight", 0, [[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11]]),
    (networks.Transposed, "up.weight", "pairs.bias", 0, [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]),
    (
        networks.Flattened,
        "stem.weight",
        "wide.weight",
        0,
        [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]],
    ),
    (networks.Shuffled, "stem.weight", "end.weight", 1, [[0, 1], [2, 3], [4, 5], [6, 7]]),
    (networks.Norms, "b.weight", "group.weight", 0, [[0, 1], [2, 3], [4, 5], [6, 7]]),
    (
        networks.Transformer,
        "attention.qkv.weight",
        "attention.qkv.weight",
        1,
        [list(range(channel, 24, 4)) for channel in range(4)],
    ),
    (networks.Transformer, "attention.qkv.weight", "attention.proj.weight", 0, [[0, 4], [1, 5], [2, 6], [3, 7]]),
    (networks.Deformed, "stem.weight", "two.weight", 1, [[0, 6], [1, 7], [2, 8], [3, 9], [4, 10], [5, 11]]),
    (networks.Deformed, "two.weight", "one.weight", 1, [[0, 3], [1, 4], [2, 5]]),
]


@pytest.fixture(scope="module")
def traced():
    """A network of a class and its graph, traced once."""
    known: dict[type, tuple[nn.Layer, ChannelGraph]] = {}

    def get(kind):
        if kind not in known:
            paddle.seed(3)
            model = randomise(kind())
            known[kind] = model, trace(model, *SHAPES.get(kind, (IMAGE,)))
        return known[kind]

    return get


@pytest.mark.parametrize("kind", EXPECTED, ids=lambda kind: kind.__name__)
def test_groups_are_as_expected_and_stand_the_oracle(traced, kind):
    model, graph = traced(kind)
    assert shown(graph) == EXPECTED[kind]
    assert_groups(model, graph, sample(*SHAPES.get(kind, (IMAGE,))), READS.get(kind))


@pytest.mark.parametrize(("kind", "group", "key", "axis", "expected"), INDICES)
def test_units_hold_the_positions_that_go_together(traced, kind, group, key, axis, expected):
    _, graph = traced(kind)
    assert units(graph, group, key, axis) == expected


@pytest.mark.parametrize("kind", EXPECTED, ids=lambda kind: kind.__name__)
def test_every_layer_has_a_group_or_a_reason(traced, kind):
    model, graph = traced(kind)
    grouped = {member.key for group in graph.groups.values() for member in group.members if member.role == "output"}
    for name, layer in model.named_sublayers():
        if isinstance(layer, (nn.Linear, nn.layer.conv._ConvNd)):
            assert (f"{name}.weight" in grouped) != (f"{name}.weight" in graph.unprunable)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.SimpleRNN])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("direction", ["forward", "bidirect"])
def test_recurrent_layers_read_channels_and_lose_units(kind, layers, direction):
    model = randomise(networks.Recurrent(kind, layers, direction))
    graph = channel_graph(model, IMAGE)
    assert list(graph.groups) == ["stem.weight", "rnn.weight_ih_l0"]
    assert units(graph, "stem.weight", "rnn.weight_ih_l0", 1) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert_groups(model, graph, sample(IMAGE))


def test_a_size_of_the_first_state_that_the_code_names_is_found_by_running_it():
    graph = channel_graph(networks.LastState(), IMAGE)
    assert {"rnn.weight_hh_l0[:, 0:5]", "end.weight[0:5]", "cell.weight[0:5]"} < shown(graph)["rnn.weight_ih_l0"]
    graph = channel_graph(networks.LastState(size=5), IMAGE)
    assert list(graph.groups) == ["stem.weight"]
    assert "the network's code fixes the number of channels (rnn in LSTM)" in graph.unprunable["rnn.weight_ih_l0"]


def test_reasons_say_what_stops_a_layer(traced):
    assert traced(networks.NotRun)[1].unprunable == {
        "end.weight": "the network's output",
        "idle.weight": "the network does not run it",
        "auxiliary.weight": "only training runs it, inference does not",
        "out.weight": "only training runs it, inference does not",
    }
    assert (
        traced(networks.SpatialAttention)[1].unprunable["map.weight"] == "multiply spreads a single channel over others"
    )
    assert traced(networks.Norms)[1].unprunable["c.weight"] == "layer_norm in LayerNorm runs over its channels"
    assert traced(networks.TwoInputs)[1].unprunable["side.weight"] == "the network's output"


@pytest.mark.parametrize("how", ["a member is missing", "units are shifted", "an input is no member"])
def test_the_oracle_finds_wrong_groups(traced, how):
    """Controls: without them a broken oracle would pass everything."""
    model, graph = traced(networks.Concat)
    right = graph.groups["right.weight"]
    members = list(right.members)
    at = next(i for i, member in enumerate(members) if member.key == "end.weight")
    if how == "a member is missing":
        members = [member for member in members if not member.key.startswith("norm")]
    elif how == "an input is no member":
        del members[at]
    else:
        moved = tuple((position + 1,) for (position,) in members[at].units)
        members[at] = type(right.master)("end.weight", 1, 17, moved, "input")
    wrong = ChannelGraph({"right.weight": Group("right.weight", tuple(members))}, {})
    verdict = judge(model, wrong, sample(IMAGE))
    assert len(verdict.faults) == verdict.checks


# -- what the code may fix ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "operator"), [(networks.LiteralReshape, "reshape"), (networks.LiteralSplit, "split")])
def test_numbers_of_channels_in_the_code_are_flagged_and_the_rest_is_not(traced, kind, operator):
    model, graph = traced(kind)
    assert graph.groups["stem.weight"].fixed_by == (operator,)
    assert graph.groups["middle.weight"].fixed_by == ()
    faults = judge(model, graph, sample(IMAGE)).faults
    assert faults and not any(label.startswith("middle.weight") for label in faults)


class LiteralGroups(networks.Depthwise):
    def forward(self, x):
        x = F.conv2d(self.stem(x), self.same.weight, padding=1, groups=6)
        return self.end(self.twice(x))


def test_a_number_of_groups_that_the_code_names_is_flagged_although_the_weight_is_a_layers():
    graph = trace(LiteralGroups(), IMAGE)
    assert graph.groups["stem.weight"].fixed_by == ("depthwise_conv2d",)


def test_a_run_tells_whether_attention_is_scaled_by_the_number_of_its_channels():
    literal, computed = (randomise(networks.Attention(literal=kind)) for kind in (True, False))
    assert "query.weight" in channel_graph(literal, IMAGE).groups
    graph = channel_graph(computed, IMAGE)
    assert list(graph.groups) == ["stem.weight", "value.weight"]
    assert "computes something else with fewer channels" in graph.unprunable["query.weight"]
    assert graph.unprunable["key.weight"] == graph.unprunable["query.weight"]


def test_heads_lose_channels_where_their_size_is_an_attribute_and_stay_where_it_is_a_literal():
    assert list(channel_graph(networks.Transformer(), IMAGE).groups) == ["attention.qkv.weight", "wide.weight"]
    graph = channel_graph(networks.Transformer(literal=True), IMAGE)
    assert list(graph.groups) == ["wide.weight"]
    assert "the network's code fixes the number of channels" in graph.unprunable["attention.qkv.weight"]


def test_channels_that_are_multiplied_with_one_another_behind_a_sigmoid_are_refused_by_the_run():
    """Zeros in what makes them do not silence them: a sigmoid makes 0.5 of nothing."""

    def scored(x, function):
        rows = function(x.flatten(2).transpose([0, 2, 1]))
        return paddle.matmul(x.flatten(2), paddle.matmul(rows, rows, transpose_y=True)).reshape([1, -1, 8, 8])

    for function, expected in ((F.relu, True), (F.sigmoid, False)):
        graph = channel_graph(randomise(networks.Between(lambda x, used=function: scored(x, used))), IMAGE)
        assert ("second.weight" in graph.groups) == expected
    assert "computes something else with fewer channels" in graph.unprunable["second.weight"]


# -- networks that cannot be followed -----------------------------------------------------------------------


class Doubled(paddle.autograd.PyLayer):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


def doubled(x):
    return Doubled.apply(x)


STOPPED = {
    "PyLayer": (doubled, "operator pylayer has no rule"),
    "no rule": (lambda x: paddle.kron(x, paddle.ones([1, 1, 1, 1])), "operator kron has no rule"),
    "topk": (lambda x: paddle.concat([paddle.topk(x, 2, axis=1)[0]] * 2, axis=1), "topk runs over its channels"),
    "gather": (lambda x: paddle.index_select(x, paddle.to_tensor([1, 0, 3, 2]), axis=1), "index_select"),
    "assignment": (lambda x: assigned(x), "set_value"),
    "normalize": (lambda x: F.normalize(x, axis=1), "p_norm runs over its channels"),
    "local response norm": (lambda x: F.local_response_norm(x, 3), "pad3d: runs across its channels"),
    "einsum": (lambda x: paddle.einsum("nchw,ncij->nchi", x, x), "einsum"),
    "softmax": (lambda x: F.softmax(x, axis=1), "softmax runs over its channels"),
    "cumsum": (lambda x: paddle.cumsum(x, axis=-3), "cumsum runs over its channels"),
    "roll": (lambda x: paddle.roll(x, 5), "roll runs over its channels"),
    "mean of all": (lambda x: x / (1 + x.abs().mean()), "mean runs over its channels"),
    "constant": (
        lambda x: x + paddle.arange(4, dtype="float32").reshape([4, 1, 1]),
        "a value whose size does not change",
    ),
}


def assigned(x):
    x = x + 1
    x[:, 0] = 0.5
    return x


@pytest.mark.parametrize("name", STOPPED)
def test_what_cannot_be_followed_is_named_and_the_rest_stays_prunable(name):
    function, reason = STOPPED[name]
    model = randomise(networks.Between(function))
    graph = trace(model, IMAGE)
    assert reason in graph.unprunable["second.weight"]
    assert list(graph.groups) == ["first.weight", "third.weight"]
    assert_groups(model, graph, sample(IMAGE))


def test_control_flow_that_depends_on_the_data_is_named_and_the_rest_stays_prunable():
    model = randomise(networks.Conditional())
    graph = trace(model, IMAGE)
    assert "control flow that depends on the data" in graph.unprunable["first.weight"]
    assert "control flow that depends on the data" in graph.unprunable["second.weight"]
    assert graph.unprunable["inside.weight"]
    assert list(graph.groups) == ["third.weight"]
    assert_groups(model, graph, sample(IMAGE))


FOLLOWED = {
    "in place": lambda x: F.relu_(x * 2).add_(paddle.ones([1])),
    "channels to the front": lambda x: x.transpose([1, 0, 2, 3]).tanh().transpose([1, 0, 2, 3]),
    "square of a square map": lambda x: x * x.transpose([0, 1, 3, 2]),
    "mean over negative axes": lambda x: x - x.mean([-1, -2], keepdim=True),
    "stack and unbind": lambda x: paddle.unbind(paddle.stack([x, x * 2], axis=-1), axis=-1)[1],
    "batch merged with channels": lambda x: F.avg_pool2d(x.reshape([-1, 1, 8, 8]), 2).reshape([x.shape[0], -1, 4, 4]),
    "softmax over space": lambda x: F.softmax(x.flatten(2), axis=-1).unsqueeze(-1) * 10,
    "expanded mean": lambda x: x + x.mean([2, 3], keepdim=True).expand_as(x),
    "clip and where": lambda x: paddle.where(x > 0, x, paddle.clip(x, -1, 0)),
    "masked fill": lambda x: paddle.masked_fill(x, x > 0.5, 0.1),
    "topk over space": lambda x: paddle.topk(x, 3, axis=-1)[0],
    "crop": lambda x: x[:, :, 1:-1, ::2],
    "standard deviation over space": lambda x: x / (1 + x.std([2, 3], keepdim=True)),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_works_on_each_channel_alone_is_followed(name):
    model = randomise(networks.Between(FOLLOWED[name]))
    graph = trace(model, IMAGE)
    assert list(graph.groups) == ["first.weight", "second.weight", "third.weight"]
    assert_groups(model, graph, sample(IMAGE))


@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_a_weight_that_a_hook_computes_stays_with_a_reason(wrap):
    model = networks.Residual()
    wrap(model.one)
    graph = trace(randomise(model), IMAGE)
    own = [key for key in graph.unprunable if key.startswith("one.weight_")]
    assert len(own) == 1
    assert not any(member.key.startswith("one.weight") for group in graph.groups.values() for member in group.members)


# -- wrong input, and what a trace leaves alone -------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "shapes"),
    [
        (networks.Plain, [(3, 8)]),
        (networks.TwoInputs, [IMAGE]),
        (networks.Plain, [IMAGE, IMAGE]),
    ],
    ids=["rank", "too few inputs", "too many inputs"],
)
def test_an_input_that_the_network_does_not_take_is_refused_with_the_shape_named(kind, shapes):
    model = kind()
    with pytest.raises(GraphError) as caught:
        trace(model, *shapes)
    assert kind.__name__ in str(caught.value) and str(list(shapes[0])) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "forward" not in vars(model), "a failed trace leaves the network as it was"


def test_an_input_with_other_channels_stops_at_the_layer_that_reads_it():
    graph = trace(networks.Plain(), (1, 4, 8, 8))
    assert list(graph.groups) == ["second.weight"]
    assert graph.unprunable["first.weight"].endswith("it reads 4 channels, its weight is for 3")


def test_a_trace_leaves_modes_forward_and_values_alone():
    model = networks.Plain()
    model.train()
    model.norm.eval()
    before = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    attributes = set(vars(model))
    trace(model, IMAGE)
    assert model.training and model.first.training and not model.norm.training
    assert set(vars(model)) == attributes
    assert all((before[key] == value.numpy()).all() for key, value in model.state_dict().items())
    model.eval()
    assert model(*sample(IMAGE)).shape == [1, 2]


def test_a_forward_of_ones_own_survives_a_trace():
    model = networks.Plain()
    original = model.forward

    def own(x):
        return original(x) * 2

    model.forward = own
    trace(model, IMAGE)
    assert model.forward is own
