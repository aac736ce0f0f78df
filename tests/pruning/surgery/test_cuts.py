"""Surgery on small networks: what is cut, what layers and optimizers remember of it, and the way back."""

from __future__ import annotations

import networks
import numpy as np
import paddle
import pytest
from hand_built import NETS, depthwise, flattened, grouped_by_block, grouped_by_offset, plain, transposed
from paddle import nn

from ocrslim.errors import PlanError
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.plan import Cut, Plan
from ocrslim.pruning.surgery.cutting import apply_plan, cut, pruned

HALF = (0, 2, 5)


def plan_of(*cuts):
    return Plan({}, tuple(cuts))


def half_of(net, ratio=0.5):
    return Plan({}, ChannelPruner(net.model, net.graph, "l1").cuts(dict.fromkeys(net.graph.groups, ratio)))


def everything(model, optimizer=None):
    """Every bit of a network, its buffers and its optimizer, with the shapes that its layers show."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    values = {key: (str(t.dtype), t.numpy()) for key, t in tensors.items()}
    found: dict[str, object] = {key: (dtype, v.shape, v.tobytes()) for key, (dtype, v) in values.items()}
    if optimizer is not None:
        for key, value in optimizer.state_dict().items():
            tensors = value if isinstance(value, dict) else {"": value}
            for name, t in tensors.items():
                found[f"optimizer {key} {name}"] = t.numpy().tobytes() if isinstance(t, paddle.Tensor) else repr(t)
    return {**found, "layers": repr(model)}


def step(net, optimizer):
    net.model.train()
    net.model(net.image()).square().mean().backward()
    optimizer.step()
    optimizer.clear_grad()
    net.model.eval()


OPTIMIZERS = {
    "Adam": lambda parameters: paddle.optimizer.Adam(0.01, parameters=parameters),
    "AdamW": lambda parameters: paddle.optimizer.AdamW(0.01, parameters=parameters),
    "Momentum": lambda parameters: paddle.optimizer.Momentum(0.01, parameters=parameters),
    "SGD": lambda parameters: paddle.optimizer.SGD(0.01, parameters=parameters),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", ["plain", "residual", "transposed", "flattened", "whole groups", "LSTM"])
def test_training_goes_on_inside_and_nothing_of_it_is_left_outside(name, optimizer):
    net = NETS[name]()
    optimizer = OPTIMIZERS[optimizer](net.model.parameters())
    step(net, optimizer)
    before = everything(net.model, optimizer)
    with pytest.raises(ZeroDivisionError), pruned(net.model, half_of(net), optimizer):
        inside = everything(net.model, optimizer)
        step(net, optimizer)
        assert everything(net.model, optimizer) != inside
        raise ZeroDivisionError
    assert everything(net.model, optimizer) == before
    step(net, optimizer)


def test_momenta_are_cut_as_their_parameters():
    net = plain()
    optimizer = OPTIMIZERS["Adam"](net.model.parameters())
    step(net, optimizer)
    weight = net.model.a.weight
    full = optimizer._accumulators["moment1"][weight.name].numpy()
    power = optimizer._accumulators["beta1_pow_acc"][weight.name].numpy()
    apply_plan(net.model, plan_of(Cut("a.weight", 0, 6, HALF), Cut("a.weight", 1, 3, (0, 2))), optimizer)
    found = optimizer._accumulators["moment1"][weight.name].numpy()
    np.testing.assert_array_equal(found, full[list(HALF)][:, [0, 2]])
    np.testing.assert_array_equal(optimizer._accumulators["beta1_pow_acc"][weight.name].numpy(), power)


def test_accumulators_that_the_optimizer_first_makes_inside_are_forgotten():
    net = plain()
    optimizer = OPTIMIZERS["Adam"](net.model.parameters())
    with pruned(net.model, half_of(net), optimizer):
        step(net, optimizer)
    assert not any(optimizer._accumulators.values())
    step(net, optimizer)


@pytest.mark.parametrize("stepped", [True, False])
def test_a_loaded_state_that_waits_for_the_first_step_is_cut_too(stepped):
    with paddle.utils.unique_name.guard():
        source = plain()
        optimizer = OPTIMIZERS["Adam"](source.model.parameters())
        step(source, optimizer)
    state = {
        key: value.clone() if isinstance(value, paddle.Tensor) else value
        for key, value in optimizer.state_dict().items()
    }
    with paddle.utils.unique_name.guard():  # as a process of its own: parameters and state have the same names
        resumed = plain()
        optimizer = OPTIMIZERS["Adam"](resumed.model.parameters())
        optimizer.set_state_dict(state)
        weight = resumed.model.a.weight
        full = state[f"{weight.name}_moment1_0"].numpy().copy()
        with pruned(resumed.model, half_of(resumed), optimizer):
            assert state[f"{weight.name}_moment1_0"].shape[0] == 3
            if stepped:
                step(resumed, optimizer)
        found = optimizer._accumulators["moment1"][weight.name] if stepped else state[f"{weight.name}_moment1_0"]
        np.testing.assert_array_equal(found.numpy(), full)
        step(resumed, optimizer)


def test_master_weights_of_mixed_precision_are_cut():
    model = nn.Linear(4, 6, bias_attr=False)
    model.to(dtype="bfloat16")
    weight = model.weight
    optimizer = paddle.optimizer.AdamW(0.01, parameters=[weight], multi_precision=True)
    master = optimizer._create_master_weight(weight)
    moment = optimizer._add_accumulator("moment1", master)
    moment.set_value(np.arange(24, dtype="float32").reshape(4, 6))
    before = [tensor.numpy().copy() for tensor in (weight, master, moment)]
    with pruned(model, plan_of(Cut("weight", 1, 6, HALF)), optimizer):
        for tensor, value in zip((weight, master, moment), before):
            np.testing.assert_array_equal(tensor.numpy(), value[:, list(HALF)])
        assert (weight.dtype, master.dtype) == (paddle.bfloat16, paddle.float32)
    for tensor, value in zip((weight, master, moment), before):
        np.testing.assert_array_equal(tensor.numpy(), value)


def test_a_gradient_of_the_old_shape_does_not_stay():
    net = plain()
    net.model(net.image()).mean().backward()
    optimizer = OPTIMIZERS["SGD"](net.model.parameters())
    apply_plan(net.model, half_of(net), optimizer)
    assert net.model.a.weight.grad is None and net.model.norm.weight.grad is None
    assert net.model.b.bias.grad is not None, "no cut touches it"
    optimizer.step()
    step(net, optimizer)


@pytest.mark.parametrize(
    ("build", "cuts", "expected"),
    [
        (grouped_by_block, [Cut("wide.weight", 0, 12, (3, 4, 5, 9, 10, 11))], (4, 6, 2)),
        (grouped_by_block, [Cut("wide.weight", 0, 12, (3, 4, 5))], (2, 3, 1)),
        (grouped_by_offset, [Cut("wide.weight", 0, 12, (0, 3, 6, 9))], (8, 4, 4)),
        (grouped_by_offset, [Cut("wide.weight", 1, 2, (1,))], (4, 12, 4)),
        (grouped_by_offset, [Cut("wide.weight", 0, 12, (1, 2, 7, 8))], (4, 4, 2)),
        (depthwise, [Cut("deep.weight", 0, 4, (2,))], (1, 1, 1)),
        (lambda: depthwise(2), [Cut("deep.weight", 0, 8, (0, 1, 6, 7))], (2, 4, 2)),
        (lambda: depthwise(2), [Cut("deep.weight", 0, 8, (0, 2, 4, 6))], (4, 4, 4)),
    ],
    ids=[
        "whole groups",
        "all but one group",
        "outputs of every group",
        "inputs of every group",
        "both at once",
        "depthwise, one left",
        "depthwise x2, pairs",
        "depthwise x2, one of each pair",
    ],
)
def test_the_number_of_groups_follows_from_what_is_kept(build, cuts, expected):
    net = build()
    apply_plan(net.model, plan_of(*cuts))
    layer = net.model.deep if hasattr(net.model, "deep") else net.model.wide
    assert (layer._in_channels, layer._out_channels, layer._groups) == expected
    layer.bias = None  # the plan is of the weight alone
    assert layer(paddle.zeros([1, expected[0], 4, 4])).shape[1] == expected[1]


def test_what_layers_show_of_themselves_is_what_they_are():
    net = NETS["PReLU, group and instance norm"]()
    apply_plan(net.model, half_of(net))
    text = repr(net.model)
    for part in ("num_groups=2, num_channels=4", "num_parameters=4", "num_features=4", "Conv2D(4, 2", "Conv2D(3, 4"):
        assert part in text
    net = NETS["LSTM"]()
    apply_plan(net.model, half_of(net))
    assert repr(net.model.lstm).startswith("LSTM(3, 3") and repr(net.model.lstm[0].cell_bw) == "LSTMCell(3, 3)"
    net = flattened()
    apply_plan(net.model, half_of(net))
    assert "in_features=8, out_features=3" in repr(net.model)
    net = transposed()
    apply_plan(net.model, half_of(net))
    assert "Conv2DTranspose(3, 2" in repr(net.model)


@pytest.mark.parametrize(("kind", "gates"), [(nn.SimpleRNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_a_recurrent_layer_and_its_cells_know_their_size_by_their_gates(kind, gates):
    model = kind(6, 5, num_layers=2)
    model.more = nn.LSTM(6, 5, proj_size=2)
    rows = tuple(row for row in range(5 * gates) if row % 5 < 3)
    parts = [f"{part}_l{layer}" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") for layer in range(2)]
    cuts = [Cut(part, 0, 5 * gates, rows) for part in parts]
    cuts += [Cut(part, 1, 5, (0, 1, 2)) for part in ("weight_ih_l1", "weight_hh_l0", "weight_hh_l1")]
    with pruned(model, plan_of(*cuts)):
        sizes = [(layer.input_size, layer.hidden_size) for layer in (model, model[0].cell, model[1].cell)]
        assert sizes == [(6, 3), (6, 3), (3, 3)]
        assert model(paddle.zeros([1, 4, 6]))[0].shape == [1, 4, 3]
        assert (model.more.hidden_size, model.more[0].cell.hidden_size) == (5, 5), "and not the projection's size"
    assert (model.hidden_size, model[0].cell.hidden_size) == (5, 5)


def test_attention_knows_the_size_of_its_heads_and_knows_the_old_one_again():
    model = networks.FusedAttention()
    model.other = nn.Linear(8, 8)
    model.other.num_heads, model.other.head_dim = "2", 4  # attributes of something else
    columns = tuple(column for column in range(24) if column % 4 < 3)
    cuts = [Cut("qkv.weight", 1, 24, columns), Cut("qkv.bias", 0, 24, columns)]
    cuts.append(Cut("proj.weight", 0, 8, (0, 1, 2, 4, 5, 6)))
    x = paddle.to_tensor(np.random.default_rng(0).standard_normal((1, 5, 8)).astype("float32"))
    before = model(x).numpy()
    with pruned(model, plan_of(*cuts)):
        assert (model.num_heads, model.head_dim, model.dim, model.other.head_dim) == (2, 3, 6, 4)
        assert model(x).shape == [1, 5, 8]
    assert (model.num_heads, model.head_dim, model.dim) == (2, 4, 8)
    np.testing.assert_array_equal(model(x).numpy(), before)


@pytest.mark.parametrize("kind", [nn.Conv1D, nn.Conv3D, nn.Conv1DTranspose, nn.Conv3DTranspose])
def test_convolutions_of_other_dimensions(kind):
    dimensions = 1 if "1D" in kind.__name__ else 3
    model = nn.Sequential(kind(4, 6, 2))
    axis = 1 if "Transpose" in kind.__name__ else 0
    apply_plan(model, plan_of(Cut("0.weight", axis, 6, HALF), Cut("0.bias", 0, 6, HALF)))
    assert model(paddle.zeros([1, 4] + [5] * dimensions)).shape[1] == 3
    assert f"{kind.__name__}(4, 3," in repr(model)


class Buffered(nn.Layer):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", paddle.arange(6, dtype="float64"))
        self.register_buffer("index", paddle.arange(6), persistable=False)

    def forward(self, x):
        return x


def test_buffers_are_cut_and_keep_their_type():
    model = Buffered()
    plan = plan_of(Cut("scale", 0, 6, HALF), Cut("index", 0, 6, (1, 2)))
    before = everything(model)
    with pruned(model, plan):
        assert model.scale.numpy().tolist() == [0, 2, 5] and model.scale.dtype == paddle.float64
        assert model.index.numpy().tolist() == [1, 2] and model.index.dtype == paddle.int64
    assert everything(model) == before


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_types_are_kept_bit_for_bit(dtype):
    model = nn.Linear(4, 6)
    model.to(dtype=dtype)
    full = model.weight.numpy().copy()
    with pruned(model, plan_of(Cut("weight", 1, 6, HALF))):
        assert str(model.weight.dtype) == f"paddle.{dtype}"
        np.testing.assert_array_equal(model.weight.numpy(), full[:, list(HALF)])
    np.testing.assert_array_equal(model.weight.numpy(), full)


class Shared(nn.Layer):
    """One layer under two names, and one weight in two layers."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.again = self.a
        self.b = nn.Linear(4, 4)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(self.again(self.a(x)))


@pytest.mark.parametrize("keys", [("a", "a"), ("a", "again"), ("b", "again"), ("again", "b")])
def test_a_shared_parameter_is_cut_once_under_whichever_keys(keys):
    model = Shared()
    full, optimizer = model.a.weight.numpy(), OPTIMIZERS["Adam"](model.parameters())
    cuts = [Cut(f"{keys[0]}.weight", 0, 4, (0, 1, 3)), Cut(f"{keys[1]}.weight", 0, 4, (0, 2, 3))]
    cuts += [Cut(f"{keys[1]}.weight", 1, 4, (1, 3)), Cut(f"{keys[0]}.weight", 1, 4, (1, 3))]
    with pruned(model, plan_of(*cuts), optimizer):
        np.testing.assert_array_equal(model.a.weight.numpy(), full[[0, 3]][:, [1, 3]])
        assert model.b.weight is model.a.weight
        assert repr(model).count("in_features=2, out_features=2") == 3
    np.testing.assert_array_equal(model.b.weight.numpy(), full)


def test_cuts_that_keep_nothing_together_are_refused():
    model = Shared()
    plan = plan_of(Cut("a.weight", 0, 4, (0, 1)), Cut("b.weight", 0, 4, (2, 3)))
    with pytest.raises(PlanError, match="axis 0: the plan would remove all 4"):
        apply_plan(model, plan)


WRONG = {
    "no such parameter": (Cut("z.weight", 0, 6, (0,)), "cuts z.weight, which this network does not have"),
    "another size": (Cut("b.weight", 1, 7, (0,)), r"7 entries on axis 1 of b.weight.*shape \[4, 6, 3, 3\]"),
    "no such axis": (Cut("a.bias", 1, 6, (0,)), "axis 1 of a.bias"),
    "an axis from the end": (Cut("a.weight", -1, 3, (0,)), "axis -1 of a.weight"),
    "beyond the end": (
        Cut("a.weight", 0, 6, (0, 6)),
        "index 6 of a.weight, axis 0, which is out of range or order.*its 6 entries",
    ),
    "before the start": (Cut("a.weight", 0, 6, (-1, 2)), "index -1 of a.weight"),
    "out of order": (Cut("a.weight", 0, 6, (2, 0)), "index 0 of a.weight.*ascending"),
    "repeated": (Cut("a.weight", 0, 6, (0, 2, 2)), "index 2 of a.weight.*each once"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_plan_of_another_model_is_refused_and_changes_nothing(case):
    wrong, message = WRONG[case]
    net = plain()
    optimizer = OPTIMIZERS["Adam"](net.model.parameters())
    step(net, optimizer)
    before = everything(net.model, optimizer)
    plan = plan_of(Cut("a.weight", 0, 6, HALF), wrong)
    with pytest.raises(PlanError, match=message):
        apply_plan(net.model, plan, optimizer)
    with pytest.raises(PlanError, match=message), pruned(net.model, plan, optimizer):
        pass
    assert everything(net.model, optimizer) == before
    apply_plan(net.model, half_of(net), optimizer)  # it is not marked as pruned


def test_groups_of_unequal_size_are_refused_and_nothing_is_changed():
    net = grouped_by_block()
    before = everything(net.model)
    with pytest.raises(PlanError, match=r"keeps 3 entries of one group of wide.weight and 1 of another"):
        apply_plan(net.model, plan_of(Cut("a.bias", 0, 8, (0,)), Cut("wide.weight", 0, 12, (0, 1, 2, 3))))
    assert everything(net.model) == before


def test_a_plan_applies_once_and_again_after_the_way_back():
    net = plain()
    plan = half_of(net)
    for _ in range(2):
        with pruned(net.model, plan):
            with pytest.raises(PlanError, match="pruned already"):
                apply_plan(net.model, plan)
            with pytest.raises(PlanError, match="pruned already"), pruned(net.model, plan):
                pass
            assert net.model.a.weight.shape[0] == 3
    undo = cut(net.model, plan.cuts)
    with pytest.raises(PlanError, match="pruned already"):
        cut(net.model, plan.cuts)
    undo.restore()
    apply_plan(net.model, plan)
