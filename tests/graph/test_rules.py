"""The coupling rules, on operators made by hand: which channels go together, which stay, and at which index."""

from __future__ import annotations

import pytest
from sketch import Sketch, role, shown, units

from ocrslim.graph.groups import FOLLOWS, INPUT, OUTPUT
from ocrslim.graph.program import Op
from ocrslim.graph.rules.registry import RULES

SINGLES = [[0], [1], [2], [3]]


def start(channels=4, name="a", *, size=6, batch=1):
    """A sketch and the output of its first convolution, [batch, channels, size, size]."""
    net = Sketch()
    return net, net.conv(name, net.input(batch, 3, size, size), channels)


def end(net, x):
    """A convolution that reads `x`; its output is the network's."""
    return net.conv("end", x, 2)


# -- layers -------------------------------------------------------------------------------------------------


def test_a_convolution_makes_channels_on_axis_0_and_reads_them_on_axis_1():
    net, x = start()
    graph = net.graph(end(net, x))
    assert shown(graph) == {"a.weight": {"a.weight[0:4]", "end.weight[:, 0:4]"}}
    assert role(graph, "a.weight", "a.weight", 0) == OUTPUT
    assert role(graph, "a.weight", "end.weight", 1) == INPUT
    assert graph.unprunable == {"end.weight": "the network's output"}


def test_a_depthwise_convolution_follows_its_source_and_makes_no_group_of_its_own():
    net, x = start()
    x = net.conv("dw", x, 4, groups=4)
    graph = net.graph(end(net, x))
    assert shown(graph) == {"a.weight": {"a.weight[0:4]", "dw.weight[0:4]", "end.weight[:, 0:4]"}}


def test_a_depthwise_multiplier_lets_all_outputs_of_a_channel_go_with_it():
    net, x = start()
    graph = net.graph(end(net, net.conv("dw", x, 8, groups=4)))
    pairs = [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert units(graph, "a.weight", "a.weight") == SINGLES
    assert units(graph, "a.weight", "dw.weight") == pairs
    assert units(graph, "a.weight", "end.weight", 1) == pairs


def test_many_conv_groups_go_whole():
    net, x = start(8)
    graph = net.graph(end(net, net.conv("g", x, 12, groups=4)))
    assert units(graph, "a.weight", "a.weight") == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert units(graph, "a.weight", "g.weight") == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert list(graph.groups) == ["a.weight"]


def test_few_conv_groups_lose_the_same_places_each():
    net, x = start(8)
    graph = net.graph(end(net, net.conv("g", x, 6, groups=2)))
    assert units(graph, "a.weight", "a.weight") == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert units(graph, "a.weight", "g.weight", 1) == SINGLES
    assert units(graph, "g.weight", "g.weight") == [[0, 3], [1, 4], [2, 5]]
    assert units(graph, "g.weight", "end.weight", 1) == [[0, 3], [1, 4], [2, 5]]


def test_as_many_places_as_conv_groups_go_by_whole_groups():
    net, x = start(4)
    graph = net.graph(end(net, net.conv("g", x, 4, groups=2)))
    assert units(graph, "a.weight", "a.weight") == [[0, 1], [2, 3]]
    assert units(graph, "a.weight", "g.weight") == [[0, 1], [2, 3]]


def test_a_weight_that_a_plain_and_a_grouped_convolution_share_serves_both():
    net, x = start(2)
    weight = net.share("w", 8, 2, 1, 1)
    wide = net.conv("b", net.input(1, 3, 6, 6), 8)
    plain = net.conv("w", x, 8, weight=weight)
    grouped = net.conv("w", wide, 8, groups=4, weight=weight)
    graph = net.graph(end(net, plain), net.conv("end2", grouped, 2))
    assert "a.weight" not in graph.groups, "whole conv-groups go on axis 0, so axis 1 must stay"
    assert units(graph, "w.weight", "w.weight") == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_whole_conv_groups_of_a_weight_that_is_no_layers_are_proven_by_a_run():
    net, x = start()
    x = net.conv("own", x, 4, groups=4, weight=net.parameter("own", 4, 1, 1, 1))
    assert net.graph(end(net, x)).groups["a.weight"].fixed_by == ("conv2d",)


def test_a_transposed_convolution_reads_on_axis_0_and_makes_on_axis_1():
    net, x = start()
    graph = net.graph(end(net, net.transposed("t", x, 5)))
    assert shown(graph) == {
        "a.weight": {"a.weight[0:4]", "t.weight[0:4]"},
        "t.weight": {"t.weight[:, 0:5]", "end.weight[:, 0:5]"},
    }


def test_groups_of_a_transposed_convolution_go_whole():
    net, x = start(4)
    graph = net.graph(end(net, net.transposed("t", x, 6, groups=2)))
    assert units(graph, "a.weight", "t.weight") == [[0, 1], [2, 3]]
    assert units(graph, "a.weight", "end.weight", 1) == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("groups", [1, 4])
def test_each_block_of_a_deformable_convolution_loses_the_same_places(groups):
    net, x = start(8)
    offset = net.conv("offset", net.input(1, 3, 6, 6), 4)
    weight = net.parameter("d.weight", 8, 8 // groups, 1, 1)
    inputs = {"x": x, "offset": offset, "filter": weight, "mask": None}
    out = net.named("deformable_conv", [1, 8, 6, 6], inputs, groups=groups, deformable_groups=2)
    graph = net.graph(end(net, out))
    expected = [[0, 4], [1, 5], [2, 6], [3, 7]] if groups == 1 else [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert units(graph, "a.weight", "a.weight") == expected
    made = units(graph, "d.weight" if groups == 1 else "a.weight", "end.weight", 1)
    assert made == expected, "Paddle wants the outputs in as many blocks"
    assert graph.unprunable["offset.weight"] == "offset of deformable_conv: one value for each place of the kernel"


def test_an_embedding_makes_channels_on_axis_1_and_keeps_its_vocabulary():
    net = Sketch()
    index = net.linear("a", net.input(2, 3), 4)
    table = net.parameter("t.weight", 9, 6)
    found = net.named("embedding", [2, 4, 6], {"x": index, "weight": table})
    scores = net.op("matmul", [2, 4, 9], net.linear("b", found, 6), table, transpose_y=True)
    graph = net.graph(net.linear("end", scores, 2))
    assert shown(graph) == {"b.weight": {"b.weight[:, 0:6]", "b.weight[0:6]", "t.weight[:, 0:6]"}}
    assert graph.unprunable["a.weight"] == "embedding looks up by them"
    assert graph.layers and all(layer.macs for layer in graph.layers), "a table that is looked up costs no MACs"


def test_a_linear_layer_reads_on_axis_0_and_makes_on_axis_1():
    net = Sketch()
    graph = net.graph(net.linear("b", net.linear("a", net.input(2, 3), 4), 2))
    assert shown(graph) == {"a.weight": {"a.weight[:, 0:4]", "b.weight[0:4]"}}


@pytest.mark.parametrize("how", ["transpose_y", "transpose"])
def test_a_transposed_weight_reads_on_axis_1(how):
    net = Sketch()
    x = net.linear("a", net.input(2, 3), 4)
    weight = net.parameter("b.weight", 2, 4)
    if how == "transpose":
        out = net.op("matmul", [2, 2], x, net.op("transpose", [4, 2], weight, perm=[1, 0]))
    else:
        out = net.op("matmul", [2, 2], x, weight, transpose_y=True)
    assert shown(net.graph(out)) == {"a.weight": {"a.weight[:, 0:4]", "b.weight[:, 0:4]"}}


def test_tied_weights_are_cut_for_both_of_their_uses():
    net = Sketch()
    x = net.linear("a", net.input(2, 3), 4)
    weight = net.parameter("t.weight", 4, 5)
    hidden = net.op("matmul", [2, 5], x, weight)
    back = net.op("matmul", [2, 4], hidden, weight, transpose_y=True)
    graph = net.graph(net.linear("end", back, 2))
    assert shown(graph) == {
        "a.weight": {"a.weight[:, 0:4]", "t.weight[0:4]", "end.weight[0:4]"},
        "t.weight": {"t.weight[:, 0:5]"},
    }


def test_a_linear_layer_over_positions_lets_channels_through_and_stays_itself():
    net, x = start()
    graph = net.graph(end(net, net.linear("mix", x, 6)))
    assert shown(graph) == {"a.weight": {"a.weight[0:4]", "end.weight[:, 0:4]"}}
    assert graph.unprunable["mix.weight"] == "matmul in Linear runs over positions: what it makes are not channels"


def test_a_linear_layer_over_positions_of_a_transposed_operand_puts_channels_on_the_other_axis():
    net, x = start()  # [1, 4, 6, 6]: [..., 6, 4] transposed is [..., 4, 6]
    x = net.op("transpose", [1, 6, 6, 4], x, perm=[0, 2, 3, 1])
    mixed = net.op("matmul", [1, 6, 4, 5], x, net.parameter("mix.weight", 6, 5), transpose_x=True)
    back = net.op("transpose", [1, 4, 6, 5], mixed, perm=[0, 2, 1, 3])
    assert shown(net.graph(end(net, back))) == {"a.weight": {"a.weight[0:4]", "end.weight[:, 0:4]"}}


def attention(net, *names):
    """Linear layers over a sequence, each [1, 7, 4]."""
    x = net.input(1, 7, 3)
    return [net.linear(name, x, 4) for name in names]


def test_a_product_of_activations_couples_what_it_sums_over_and_carries_what_it_does_not():
    net = Sketch()
    q, k, v = attention(net, "q", "k", "v")
    scores = net.op("softmax", [1, 7, 7], net.op("matmul", [1, 7, 7], q, k, transpose_y=True), axis=-1)
    graph = net.graph(net.linear("end", net.op("matmul", [1, 7, 4], scores, v), 2))
    assert shown(graph) == {
        "q.weight": {"q.weight[:, 0:4]", "k.weight[:, 0:4]"},
        "v.weight": {"v.weight[:, 0:4]", "end.weight[0:4]"},
    }
    assert graph.groups["q.weight"].fixed_by, "code divides by a function of the number of channels: to be proven"
    assert not graph.groups["v.weight"].fixed_by
    assert [group.summed for group in graph.groups.values()] == [True, False]


def test_a_product_over_channels_that_a_layer_reads_too_is_noted_and_proven_by_a_run():
    net = Sketch()
    (x,) = attention(net, "a")
    scores = net.op("matmul", [1, 7, 7], x, x, transpose_y=True)
    graph = net.graph(net.linear("end", net.op("matmul", [1, 7, 4], scores, x), 2))
    assert shown(graph) == {"a.weight": {"a.weight[:, 0:4]", "end.weight[0:4]"}}
    assert graph.groups["a.weight"].summed, "zeros in `end` alone do not silence its channels"
    assert graph.groups["a.weight"].fixed_by == ("matmul",)


def test_a_product_that_makes_pairs_of_channels_pins_them():
    net = Sketch()
    q, k = attention(net, "q", "k")
    graph = net.graph(net.linear("end", net.op("matmul", [1, 4, 4], q, k, transpose_x=True), 2))
    assert graph.unprunable["q.weight"] == graph.unprunable["k.weight"] == "matmul makes every pair of its channels"


def test_a_product_of_each_channel_with_itself_couples_and_one_with_something_else_pins():
    net, x = start()
    y = another(net)
    assert set(shown(net.graph(end(net, net.op("matmul", [1, 4, 6, 6], x, y))))) == {"a.weight"}
    net, x = start()
    graph = net.graph(end(net, net.op("matmul", [1, 4, 6, 6], x, net.input(1, 4, 6, 6))))
    assert graph.unprunable["a.weight"] == "matmul makes every pair of its channels"


def test_a_sum_over_channels_with_something_else_pins_them():
    net = Sketch()
    x = net.linear("a", net.input(1, 7, 3), 4)
    graph = net.graph(net.op("matmul", [1, 7, 5], x, net.input(1, 4, 5)))
    assert graph.unprunable["a.weight"] == "matmul sums over its channels with values that are not channels"


@pytest.mark.parametrize("kind", ["batch_norm", "instance_norm"])
def test_norms_of_each_channel_follow(kind):
    net, x = start()
    graph = net.graph(end(net, net.norm(kind, "n", x, 4, data_format="NCHW")))
    assert shown(graph) == {"a.weight": {"a.weight[0:4]", "n.scale[0:4]", "n.bias[0:4]", "end.weight[:, 0:4]"}}
    assert role(graph, "a.weight", "n.scale", 0) == FOLLOWS


def test_a_group_norm_loses_whole_groups_and_is_proven_by_a_run():
    net, x = start()
    graph = net.graph(end(net, net.norm("group_norm", "n", x, 4, groups=2)))
    assert units(graph, "a.weight", "n.scale") == [[0, 1], [2, 3]]
    assert graph.groups["a.weight"].fixed_by == ("group_norm",)


@pytest.mark.parametrize(
    ("kind", "attributes", "reason"),
    [
        ("group_norm", {"groups": 1}, "group_norm runs over its channels"),
        ("layer_norm", {"begin_norm_axis": 1}, "layer_norm runs over its channels"),
        ("layer_norm", {"begin_norm_axis": -3}, "layer_norm runs over its channels"),
    ],
)
def test_norms_over_channels_pin_them(kind, attributes, reason):
    net, x = start()
    graph = net.graph(end(net, net.norm(kind, "n", x, 4, **attributes)))
    assert graph.unprunable["a.weight"] == reason


def test_a_group_norm_without_scale_pins_its_channels():
    net, x = start()
    graph = net.graph(end(net, net.named("group_norm", x.shape, {"x": x, "scale": None, "bias": None}, groups=2)))
    assert "no scale" in graph.unprunable["a.weight"]


def test_a_layer_norm_over_space_lets_channels_through():
    net, x = start()
    graph = net.graph(end(net, net.norm("layer_norm", "n", x, 36, begin_norm_axis=2)))
    assert shown(graph) == {"a.weight": {"a.weight[0:4]", "end.weight[:, 0:4]"}}


def test_a_scale_that_a_layer_norm_shares_stays():
    net, x = start()
    scale = net.parameter("s", 4)
    y = another(net)
    y = net.named("batch_norm", y.shape, {"x": y, "scale": scale})
    x = net.named("layer_norm", x.shape, {"x": x, "scale": scale}, begin_norm_axis=1)
    graph = net.graph(end(net, x), net.conv("end2", y, 2))
    assert not graph.groups


@pytest.mark.parametrize(
    ("mode", "slope", "member"),
    [("channel", [4], {"p.weight[0:4]"}), ("all", [1], set()), ("element", [4, 1, 1], {"p.weight[0:4]"})],
)
def test_prelu_has_a_slope_for_each_channel_or_one_for_all(mode, slope, member):
    net, x = start()
    x = net.named("prelu", x.shape, {"x": x, "alpha": net.parameter("p.weight", *slope)}, mode=mode)
    assert shown(net.graph(end(net, x))) == {"a.weight": {"a.weight[0:4]", "end.weight[:, 0:4]", *member}}


def test_prelu_with_a_slope_for_each_entry_pins_what_meets_it():
    net, x = start()
    x = net.named("prelu", x.shape, {"x": x, "alpha": net.parameter("p.weight", 1, 4, 6, 6)}, mode="element")
    assert not net.graph(end(net, x)).groups


def recurrent(net, x, hidden, *states, gates=4, layers=1, directions=1):
    """A recurrent layer over [time, batch, channels]: the sequence of its outputs, and the last state."""
    channels = (x.shape or ())[2]
    weights = []
    for layer in range(layers):
        for way in range(directions):
            read = channels if layer == 0 else directions * hidden
            weights.append(net.parameter(f"ih{layer}{way}", gates * hidden, read))
            weights.append(net.parameter(f"hh{layer}{way}", gates * hidden, hidden))
    weights += [net.parameter(f"bias{i}", gates * hidden) for i in range(2 * layers * directions)]
    inputs = {"x": x, "weight_list": net.list(*weights), "pre_state": net.list(*states)}
    out, _, last = net.several("rnn", [(7, 1, directions * hidden), (0,), None], inputs, is_bidirec=directions == 2)
    return out, net.parts(last, [layers * directions, 1, hidden])[0]


def zeros(net, *shape):
    return net.op("full", shape, value=0.0)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("layers", [1, 2])
def test_units_of_a_recurrent_layer_go_from_all_its_gates_layers_and_directions(layers, directions):
    net = Sketch()
    x = net.linear("a", net.input(7, 1, 3), 4)
    out, _ = recurrent(net, x, 5, zeros(net, 1, 1, 5), layers=layers, directions=directions)
    graph = net.graph(net.linear("end", out, 2))
    ways = [f"{layer}{way}" for layer in range(layers) for way in range(directions)]
    assert shown(graph)["a.weight"] == {"a.weight[:, 0:4]", *(f"ih0{way}[:, 0:4]" for way in range(directions))}
    assert shown(graph)["ih00"] == {
        *(f"{kind}{way}[0:20]" for kind in ("ih", "hh") for way in ways),
        *(f"hh{way}[:, 0:5]" for way in ways),
        *(f"ih1{way}[:, 0:{5 * directions}]" for way in range(directions) if layers == 2),
        *(f"bias{index}[0:20]" for index in range(2 * len(ways))),
        f"end.weight[0:{5 * directions}]",
    }
    assert units(graph, "ih00", "hh00") == [[unit, 5 + unit, 10 + unit, 15 + unit] for unit in range(5)]
    assert units(graph, "ih00", "hh00", 1) == [[unit] for unit in range(5)]
    assert units(graph, "ih00", "end.weight") == [list(range(unit, 5 * directions, 5)) for unit in range(5)]
    assert role(graph, "ih00", "ih00", 0) == role(graph, "ih00", "hh00", 0) == OUTPUT
    assert role(graph, "ih00", "hh00", 1) == INPUT
    assert graph.groups["ih00"].fixed_by == ("rnn",), "code may name the size of the first state: to be proven"


@pytest.mark.parametrize("gates", [1, 3])
def test_a_unit_has_as_many_rows_as_the_kind_of_layer_has_gates(gates):
    net = Sketch()
    out, _ = recurrent(net, net.input(7, 1, 3), 5, zeros(net, 1, 1, 5), gates=gates)
    graph = net.graph(net.linear("end", out, 2))
    assert units(graph, "ih00", "bias1") == [list(range(unit, 5 * gates, 5)) for unit in range(5)]


def test_a_layer_that_reads_the_last_state_reads_the_units():
    net = Sketch()
    out, last = recurrent(net, net.input(7, 1, 3), 5, zeros(net, 2, 1, 5), layers=2)
    graph = net.graph(net.linear("end", out, 2), net.linear("state", last, 2))
    assert {"end.weight[0:5]", "state.weight[0:5]"} < shown(graph)["ih00"]


def test_units_whose_first_state_is_computed_stay():
    net = Sketch()
    state = net.linear("b", net.input(1, 1, 3), 5)
    out, _ = recurrent(net, net.input(7, 1, 3), 5, state)
    graph = net.graph(net.linear("end", out, 2))
    assert not graph.groups
    assert graph.unprunable["b.weight"] == graph.unprunable["hh00"] == "first state of rnn"


# -- elementwise --------------------------------------------------------------------------------------------


def another(net, name="b"):
    """The output of a convolution over another input, [1, 4, 6, 6]."""
    return net.conv(name, net.input(1, 3, 6, 6), 4)


@pytest.mark.parametrize("kind", ["add", "subtract", "multiply", "divide", "maximum"])
def test_values_that_meet_go_together_under_the_first_ones_name(kind):
    net, x = start()
    y = another(net)
    graph = net.graph(end(net, net.op(kind, x.shape, x, y)))
    assert shown(graph) == {"a.weight": {"a.weight[0:4]", "b.weight[0:4]", "end.weight[:, 0:4]"}}


def test_a_sum_of_a_list_couples_all_of_it():
    net, x = start()
    y, z = another(net), another(net, "c")
    out = net.named("add_n", x.shape, {"inputs": net.list(x, y, z)})
    assert {"b.weight[0:4]", "c.weight[0:4]"} < shown(net.graph(end(net, out)))["a.weight"]


def test_squeeze_and_excite_broadcasts_one_value_a_channel():
    net, x = start()
    gate = net.op("mean", [1, 4, 1, 1], x, axis=[2, 3], keepdim=True)
    gate = net.conv("up", net.conv("down", gate, 2), 4)
    graph = net.graph(end(net, net.op("multiply", x.shape, x, gate)))
    assert shown(graph) == {
        "a.weight": {"a.weight[0:4]", "down.weight[:, 0:4]", "up.weight[0:4]", "end.weight[:, 0:4]"},
        "down.weight": {"down.weight[0:2]", "up.weight[:, 0:2]"},
    }


def test_a_map_for_all_channels_stays_and_its_source_goes_on():
    net, x = start()
    attention = net.conv("one", x, 1)
    graph = net.graph(end(net, net.op("multiply", x.shape, x, attention)))
    assert shown(graph) == {"a.weight": {"a.weight[0:4]", "one.weight[:, 0:4]", "end.weight[:, 0:4]"}}
    assert graph.unprunable["one.weight"] == "multiply spreads a single channel over others"


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (4, 6, 6), (1, 4, 6, 6)])
def test_a_constant_of_full_size_pins_the_channels_it_meets(shape):
    net, x = start()
    constant = net.op("assign_value", shape)
    graph = net.graph(end(net, net.op("add", x.shape, x, constant)))
    assert graph.unprunable["a.weight"] == "add meets a value whose size does not change (a constant)"


@pytest.mark.parametrize("shape", [(), (1,), (6,), (1, 1, 6, 6), (6, 1)])
def test_a_constant_of_another_size_does_not(shape):
    net, x = start()
    graph = net.graph(end(net, net.op("add", x.shape, x, net.op("assign_value", shape))))
    assert shown(graph) == {"a.weight": {"a.weight[0:4]", "end.weight[:, 0:4]"}}


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (4, 1, 1)])
def test_a_parameter_of_one_entry_a_channel_follows(shape):
    net, x = start()
    graph = net.graph(end(net, net.op("multiply", x.shape, x, net.parameter("gamma", *shape))))
    assert f"gamma[{':, ' * shape.index(4)}0:4]" in shown(graph)["a.weight"]


@pytest.mark.parametrize("shape", [(6,), (6, 1), (1,), (1, 1, 6, 1)])
def test_a_parameter_along_space_stays_and_channels_go_on(shape):
    net, x = start()
    graph = net.graph(end(net, net.op("multiply", x.shape, x, net.parameter("gamma", *shape))))
    assert shown(graph) == {"a.weight": {"a.weight[0:4]", "end.weight[:, 0:4]"}}


def test_a_scalar_parameter_does_not_stop_channels_without_space():
    net, x = start(size=1)
    graph = net.graph(end(net, net.op("multiply", x.shape, x, net.parameter("gamma", 1))))
    assert list(graph.groups) == ["a.weight"]


def test_a_parameter_of_several_axes_pins_what_meets_it():
    net, x = start()
    graph = net.graph(end(net, net.op("add", x.shape, x, net.parameter("position", 1, 4, 6, 6))))
    assert not graph.groups


def test_channels_along_two_axes_of_equal_size_are_not_mistaken_for_one_another():
    net, x = start(6)  # [1, 6, 6, 6]
    y = net.op("transpose", [1, 6, 6, 6], net.conv("b", net.input(1, 3, 6, 6), 6), perm=[0, 2, 1, 3])
    graph = net.graph(end(net, net.op("add", x.shape, x, y)))
    assert graph.unprunable["a.weight"] == "add joins channels along two axes"
    assert not graph.groups


def test_expanding_like_another_value_couples_both():
    net, x = start()
    small = net.op("mean", [1, 4, 1, 1], another(net), axis=[2, 3], keepdim=True)
    graph = net.graph(end(net, net.op("expand_as", x.shape, small, x)))
    assert shown(graph)["a.weight"] >= {"a.weight[0:4]", "b.weight[0:4]", "end.weight[:, 0:4]"}


# -- joining and cutting ------------------------------------------------------------------------------------


def test_concat_shifts_the_channels_of_later_parts():
    net, x = start()
    y = another(net)
    graph = net.graph(end(net, net.named("concat", [1, 8, 6, 6], {"x": net.list(x, y)}, axis=-3)))
    assert shown(graph) == {
        "a.weight": {"a.weight[0:4]", "end.weight[:, 0:4]"},
        "b.weight": {"b.weight[0:4]", "end.weight[:, 4:8]"},
    }


def test_a_part_without_channels_keeps_its_place_in_a_concat():
    net, x = start()
    graph = net.graph(end(net, net.named("concat", [1, 7, 6, 6], {"x": net.list(net.input(1, 3, 6, 6), x)}, axis=1)))
    assert shown(graph) == {"a.weight": {"a.weight[0:4]", "end.weight[:, 3:7]"}}


def test_a_part_of_unknown_size_stops_a_concat():
    net, x = start()
    graph = net.graph(end(net, net.named("concat", [1, 8, 6, 6], {"x": net.list(net.input(1, -1, 6, 6), x)}, axis=1)))
    assert graph.unprunable["a.weight"] == "operator concat is used in a way that its rule does not know"


def test_parameters_in_a_concat_stay_whole_where_it_does_not_follow_them():
    net, x = start()
    y = another(net)
    first, second = net.parameter("v", 4, 4, 1, 1), net.parameter("w", 4, 4, 1, 1)
    both = net.named("concat", [8, 4, 1, 1], {"x": net.list(first, second)}, axis=0)
    joint = net.conv("joint", x, 8, weight=both)
    alone = net.conv("v", y, 4, weight=first)
    graph = net.graph(end(net, joint), net.conv("end2", alone, 2))
    assert not graph.groups


@pytest.mark.parametrize(
    ("kind", "axis", "shape"),
    [("concat", 2, (1, 4, 12, 6)), ("stack", 2, (1, 4, 2, 6, 6)), ("stack", 0, (2, 1, 4, 6, 6))],
)
def test_values_side_by_side_share_their_channels(kind, axis, shape):
    net, x = start()
    y = another(net)
    both = net.named(kind, shape, {"x": net.list(x, y)}, axis=axis)
    out = net.op("mean", [1, 4, 6, 6], both, axis=[axis]) if kind == "stack" else both
    assert shown(net.graph(end(net, out))) == {"a.weight": {"a.weight[0:4]", "b.weight[0:4]", "end.weight[:, 0:4]"}}


def test_equal_parts_of_a_split_stay_equal():
    net, x = start()
    left, right = net.parts(net.op("split", None, x, sections=[2, -1], axis=1), [1, 2, 6, 6], [1, 2, 6, 6])
    graph = net.graph(end(net, left), net.conv("end2", right, 2))
    assert units(graph, "a.weight", "a.weight") == [[0, 2], [1, 3]]
    assert units(graph, "a.weight", "end.weight", 1) == units(graph, "a.weight", "end2.weight", 1) == [[0], [1]]
    assert graph.groups["a.weight"].fixed_by == ("split",)


def test_unequal_parts_of_a_split_stay():
    net, x = start()
    left, right = net.parts(net.op("split", None, x, sections=[1, 3], axis=1), [1, 1, 6, 6], [1, 3, 6, 6])
    graph = net.graph(end(net, left), net.conv("end2", right, 2))
    assert graph.unprunable["a.weight"] == "split cuts its channels at fixed positions"


def test_a_split_of_space_lets_channels_through():
    net, x = start()
    _, right = net.parts(net.op("split_with_num", None, x, num=2, axis=-1), [1, 4, 6, 3], [1, 4, 6, 3])
    assert shown(net.graph(end(net, right))) == {"a.weight": {"a.weight[0:4]", "end.weight[:, 0:4]"}}


@pytest.mark.parametrize(
    ("starts", "ends", "read"), [(0, 2, "0:2"), (2, 4, "0:2"), (-2, 2**31 - 1, "0:2"), (0, 4, "0:4")]
)
def test_half_of_the_channels_is_one_of_two_equal_parts(starts, ends, read):
    net, x = start()
    count = 4 if (starts, ends) == (0, 4) else 2
    out = net.named("slice", [1, count, 6, 6], {"input": x}, axes=[1], starts=[starts], ends=[ends], decrease_axis=[])
    graph = net.graph(end(net, out))
    assert shown(graph) == {"a.weight": {"a.weight[0:4]", f"end.weight[:, {read}]"}}
    assert graph.groups["a.weight"].size == count
    assert graph.groups["a.weight"].fixed_by == (("slice",) if count == 2 else ())


@pytest.mark.parametrize(
    ("kind", "shape", "attributes"),
    [
        ("slice", [1, 3, 6, 6], {"starts": [0], "ends": [3], "decrease_axis": []}),
        ("slice", [1, 2, 6, 6], {"starts": [1], "ends": [3], "decrease_axis": []}),
        ("slice", [1, 6, 6], {"starts": [0], "ends": [1], "decrease_axis": [1]}),
        ("strided_slice", [1, 2, 6, 6], {"starts": [0], "ends": [4], "strides": [2]}),
    ],
)
def test_channels_at_fixed_positions_pin_all(kind, shape, attributes):
    net, x = start()
    out = net.named(kind, shape, {"input": x}, axes=[1], **attributes)
    graph = net.graph(net.op("sum", [1], out))
    assert graph.unprunable["a.weight"].endswith("takes some of its channels at fixed positions")


def test_taking_a_sequence_apart_couples_nothing_new_and_taking_channels_apart_pins_them():
    net, x = start()
    rows = net.parts(net.named("unbind", None, {"input": x}, axis=2), *[[1, 4, 6]] * 6)
    graph = net.graph(end(net, net.op("unsqueeze", [1, 4, 6, 1], rows[3], axis=[-1])))
    assert shown(graph) == {"a.weight": {"a.weight[0:4]", "end.weight[:, 0:4]"}}
    net, x = start()
    planes = net.parts(net.named("unbind", None, {"input": x}, axis=1), *[[1, 6, 6]] * 4)
    assert net.graph(net.op("add", [1, 6, 6], *planes[:2])).unprunable["a.weight"] == "unbind takes its channels apart"


# -- shapes -------------------------------------------------------------------------------------------------


def test_flattening_space_into_channels_lets_all_places_of_a_channel_go():
    net, x = start(2, size=3)
    graph = net.graph(net.linear("end", net.op("flatten", [1, 18], x, start_axis=1, stop_axis=3), 2))
    assert units(graph, "a.weight", "end.weight") == [list(range(9)), list(range(9, 18))]


def test_flattening_channels_last_interleaves_them():
    net, x = start(2, size=2)
    x = net.op("transpose", [1, 2, 2, 2], x, perm=[0, 2, 3, 1])
    graph = net.graph(net.linear("end", net.op("reshape", [1, 8], x, shape=[1, -1]), 2))
    assert units(graph, "a.weight", "end.weight") == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_a_reshape_that_names_the_channels_is_noted():
    net, x = start()
    named = net.op("reshape", [1, 4, 36], x, shape=[1, 4, -1])
    graph = net.graph(net.op("transpose", [1, 36, 4], named, perm=[0, 2, 1]), end(net, x))
    assert not graph.groups, "returned, so it stays"
    graph = net.graph(end(net, net.op("reshape", [1, 4, 6, 6], named, shape=[0, -1, 6, 6])))
    assert graph.groups["a.weight"].fixed_by == ("reshape",)


@pytest.mark.parametrize(
    ("shape", "made", "flagged"),
    [([0, 0, -1], (1, 4, 36), ()), ([1, -1, 36], (1, 4, 36), ()), ([1, 2, -1, 36], (1, 2, 2, 36), ("reshape",))],
)
def test_a_reshape_is_noted_where_it_names_channels_or_divides_them(shape, made, flagged):
    net, x = start()
    there = net.op("reshape", made, x, shape=shape)
    graph = net.graph(end(net, net.op("reshape", [1, 4, 6, 6], there, shape=[1, -1, 6, 6])))
    assert graph.groups["a.weight"].fixed_by == flagged


@pytest.mark.parametrize(("channels", "flagged"), [(4, ("expand",)), (-1, ())])
def test_expanding_space_lets_channels_through_and_notes_their_number(channels, flagged):
    net, x = start(size=1)
    graph = net.graph(end(net, net.op("expand", [1, 4, 6, 6], x, shape=[-1, channels, 6, 6])))
    assert shown(graph) == {"a.weight": {"a.weight[0:4]", "end.weight[:, 0:4]"}}
    assert graph.groups["a.weight"].fixed_by == flagged


def test_expanding_a_single_channel_pins_it():
    net, x = start(1)
    graph = net.graph(end(net, net.op("expand", [1, 4, 6, 6], x, shape=[-1, 4, -1, -1])))
    assert graph.unprunable["a.weight"] == "operator expand: spreads a single channel over others"


def test_batch_merged_with_channels_is_told_apart_again():
    net, x = start(4, batch=2)
    merged = net.op("reshape", [8, 1, 6, 6], x, shape=[-1, 1, 6, 6])
    back = net.op("reshape", [2, 4, 6, 6], merged, shape=[2, -1, 6, 6])
    assert shown(net.graph(end(net, back))) == {"a.weight": {"a.weight[0:4]", "end.weight[:, 0:4]"}}


def test_squeeze_and_unsqueeze_move_the_axis_of_channels():
    net, x = start(size=1)
    flat = net.op("squeeze", [1, 4], x, axis=[-1, 2])
    again = net.op("unsqueeze", [1, 4, 1, 1], flat, axis=[2, -1])
    assert shown(net.graph(end(net, again))) == {"a.weight": {"a.weight[0:4]", "end.weight[:, 0:4]"}}


def test_a_channel_shuffle_couples_the_same_places_of_every_part():
    net, x = start(6)
    x = net.op("reshape", [1, 2, 3, 6, 6], x, shape=[1, 2, 3, 6, 6])
    x = net.op("transpose", [1, 3, 2, 6, 6], x, perm=[0, 2, 1, 3, 4])
    graph = net.graph(end(net, net.op("reshape", [1, 6, 6, 6], x, shape=[1, 6, 6, 6])))
    assert units(graph, "a.weight", "a.weight") == [[0, 3], [1, 4], [2, 5]]
    assert units(graph, "a.weight", "end.weight", 1) == [[0, 1], [2, 3], [4, 5]]
    assert graph.groups["a.weight"].fixed_by == ("reshape",)


@pytest.mark.parametrize(
    ("kind", "channels", "shape", "attributes", "made", "read"),
    [
        ("pixel_shuffle", 8, (1, 2, 12, 12), {"upscale_factor": 2}, [[0, 1, 2, 3], [4, 5, 6, 7]], [[0], [1]]),
        ("pixel_unshuffle", 2, (1, 8, 3, 3), {"downscale_factor": 2}, [[0], [1]], [[0, 1, 2, 3], [4, 5, 6, 7]]),
        ("channel_shuffle", 4, (1, 4, 6, 6), {"groups": 2}, [[0, 2], [1, 3]], [[0, 1], [2, 3]]),
        ("tile", 2, (1, 4, 6, 6), {"repeat_times": [1, 2, 1, 1]}, [[0], [1]], [[0, 2], [1, 3]]),
        ("repeat_interleave", 2, (1, 4, 6, 6), {"repeats": 2, "axis": 1}, [[0], [1]], [[0, 1], [2, 3]]),
        ("pad", 2, (1, 5, 6, 6), {"paddings": [0, 0, 1, 2, 0, 0, 0, 0]}, [[0], [1]], [[1], [2]]),
    ],
)
def test_channels_in_other_places(kind, channels, shape, attributes, made, read):
    net, x = start(channels)
    graph = net.graph(end(net, net.op(kind, shape, x, **attributes)))
    assert units(graph, "a.weight", "a.weight") == made
    assert units(graph, "a.weight", "end.weight", 1) == read


def test_unfolded_patches_hold_all_places_of_a_channel_in_a_row():
    net, x = start(2)
    patches = net.op("unfold", [1, 8, 9], x, kernel_sizes=[2, 2])
    graph = net.graph(net.linear("end", net.op("transpose", [1, 9, 8], patches, perm=[0, 2, 1]), 2))
    assert units(graph, "a.weight", "end.weight") == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_the_only_channel_does_not_become_another_axis():
    net, x = start(1)
    graph = net.graph(net.op("reshape", [1, 36, 1, 1], x, shape=[1, 36, 1, 1]))
    assert not graph.groups and graph.unprunable["a.weight"]


# -- space and channels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "shape", "attributes"),
    [
        ("pool2d", (1, 4, 3, 3), {"data_format": "NCHW"}),
        ("nearest_interp", (1, 4, 12, 12), {"data_format": "NCHW"}),
        ("mean", (1, 4, 1, 1), {"axis": [-1, 2], "keepdim": True}),
        ("softmax", (1, 4, 6, 6), {"axis": -1}),
        ("cumsum", (1, 4, 6, 6), {"axis": 2.0, "flatten": False}),
        ("flip", (1, 4, 6, 6), {"axis": [2, 3]}),
        ("roll", (1, 4, 6, 6), {"axis": [-1], "shifts": [1]}),
        ("pad3d", (1, 4, 8, 8), {"data_format": "NCHW"}),
    ],
)
def test_what_runs_over_space_lets_channels_through(kind, shape, attributes):
    net, x = start()
    assert shown(net.graph(end(net, net.op(kind, shape, x, **attributes)))) == {
        "a.weight": {"a.weight[0:4]", "end.weight[:, 0:4]"}
    }


@pytest.mark.parametrize(
    ("kind", "shape", "attributes"),
    [
        ("mean", (1, 1, 6, 6), {"axis": [-3], "keepdim": True}),
        ("max", (), {"axis": []}),
        ("argmax", (), {"axis": 0.0, "flatten": True}),
        ("p_norm", (), {"axis": -1, "asvector": True}),
        ("softmax", (1, 4, 6, 6), {"axis": -3}),
        ("cumsum", (144,), {"axis": -1.0, "flatten": True}),
        ("cumprod", (1, 4, 6, 6), {"dim": 1}),
        ("argsort", (1, 4, 6, 6), {"axis": 1}),
        ("flip", (1, 4, 6, 6), {"axis": [1]}),
        ("roll", (1, 4, 6, 6), {"axis": [], "shifts": [3]}),
    ],
)
def test_what_runs_over_channels_pins_them(kind, shape, attributes):
    net, x = start()
    graph = net.graph(net.op("sum", [], net.op(kind, shape, x, **attributes)))
    assert graph.unprunable["a.weight"] == f"{kind} runs over its channels"


def test_pooling_with_channels_where_it_expects_space_pins_them():
    net, x = start()
    x = net.op("transpose", [1, 6, 6, 4], x, perm=[0, 2, 3, 1])
    graph = net.graph(net.op("pool2d", [1, 6, 3, 2], x, data_format="NCHW"))
    assert graph.unprunable["a.weight"] == "operator pool2d: runs across its channels"


def test_a_convolution_over_channels_as_if_they_were_space_pins_them():
    net, x = start()
    graph = net.graph(end(net, net.op("transpose", [1, 6, 4, 6], x, perm=[0, 2, 1, 3])))
    assert graph.unprunable["a.weight"] == "an operator runs across its channels"


def test_channels_last_are_followed_by_the_data_format():
    net, x = start()
    x = net.op("transpose", [1, 6, 6, 4], x, perm=[0, 2, 3, 1])
    x = net.norm("batch_norm", "n", net.op("pool2d", [1, 3, 3, 4], x, data_format="NHWC"), 4, data_format="NHWC")
    weight = net.parameter("b.weight", 5, 4, 1, 1)
    out = net.named("conv2d", [1, 3, 3, 5], {"input": x, "filter": weight}, groups=1, data_format="NHWC")
    assert shown(net.graph(out)) == {"a.weight": {"a.weight[0:4]", "n.scale[0:4]", "n.bias[0:4]", "b.weight[:, 0:4]"}}


def test_the_number_of_channels_as_a_value_is_noted():
    net, x = start()
    net.named("shape64", [4], {"input": x})
    assert net.graph(end(net, x)).groups["a.weight"].fixed_by == ("shape64",)


# -- the network as a whole ---------------------------------------------------------------------------------


def test_all_that_the_network_returns_stays_and_what_else_is_read_of_it_does_not_change_that():
    net, x = start()
    y = another(net)
    graph = net.graph(x, end(net, net.op("add", x.shape, x, y)))
    assert not graph.groups
    assert graph.unprunable["b.weight"] == "the network's output"


def test_two_inputs_and_two_outputs():
    net, x = start()
    y = net.conv("b", net.input(1, 5, 6, 6), 4)
    graph = net.graph(end(net, x), net.conv("end2", y, 2))
    assert list(graph.groups) == ["a.weight", "b.weight"]


def test_a_layer_over_two_branches_couples_what_it_reads():
    net, x = start()
    y = another(net)
    weight = net.share("shared", 5, 4, 1, 1)
    first, second = (net.conv("shared", value, 5, weight=weight) for value in (x, y))
    graph = net.graph(end(net, first), net.conv("end2", second, 2))
    assert shown(graph) == {
        "a.weight": {"a.weight[0:4]", "b.weight[0:4]", "shared.weight[:, 0:4]"},
        "shared.weight": {"shared.weight[0:5]", "end.weight[:, 0:5]", "end2.weight[:, 0:5]"},
    }


def test_an_operator_without_a_rule_is_named_and_the_rest_goes_on():
    net, x = start()
    strange = net.op("strange", [1, 4, 6, 6], net.conv("b", x, 4))
    graph = net.graph(end(net, net.conv("c", strange, 4)))
    assert shown(graph) == {
        "a.weight": {"a.weight[0:4]", "b.weight[:, 0:4]"},
        "c.weight": {"c.weight[0:4]", "end.weight[:, 0:4]"},
    }
    assert graph.unprunable["b.weight"] == "operator strange has no rule"


def test_a_rule_that_fails_half_way_leaves_nothing_behind(monkeypatch):
    def broken(op, coupling):
        coupling.set(op.outputs[0], 1, coupling.channels(op["x"]).atoms)
        raise IndexError

    monkeypatch.setitem(RULES, "broken", broken)
    net, x = start()
    graph = net.graph(end(net, net.op("broken", [1, 4, 6, 6], x)))
    assert graph.unprunable["a.weight"] == "operator broken is used in a way that its rule does not know"


def test_what_a_block_of_control_flow_uses_stays():
    net, x = start()
    weight = net.parameter("inner.weight", 4, 4, 1, 1)
    out = net.value([1, 4, 6, 6])
    net._ops.append(Op("if", {"cond": net.input(1)}, [out], captured=[x, weight]))
    also = net.conv("inner", another(net), 4, weight=weight)
    graph = net.graph(end(net, out), net.conv("end2", also, 2))
    assert not graph.groups
    assert graph.unprunable["a.weight"] == "operator if: control flow that depends on the data"


def test_a_weight_that_is_computed_stays_and_stops_what_it_reads():
    net, x = start()
    weight, gain = net.parameter("v", 4, 4, 1, 1), net.parameter("g", 4, 1, 1, 1)
    computed = net.op("multiply", [4, 4, 1, 1], weight, gain)
    graph = net.graph(end(net, net.conv("computed", x, 4, weight=computed)))
    assert graph.unprunable["a.weight"] == "operator conv2d: its weight is computed, not a parameter"
    assert not graph.groups


def test_a_weight_through_a_function_of_each_entry_is_cut_itself():
    net, x = start()
    weight = net.op("tanh", [4, 4, 1, 1], net.parameter("v", 4, 4, 1, 1))
    graph = net.graph(end(net, net.conv("v", x, 4, weight=weight)))
    assert shown(graph)["a.weight"] == {"a.weight[0:4]", "v[:, 0:4]"}


def test_an_enlarged_parameter_is_not_taken_for_itself():
    net, x = start()
    small = net.parameter("table", 1, 4, 3, 1)
    large = net.op("nearest_interp", [1, 4, 6, 1], small, data_format="NCHW")
    assert not net.graph(end(net, net.op("add", x.shape, x, large))).groups
