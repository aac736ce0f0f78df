"""The channel graph of a network, its groups proven by running the network pruned.

A trace sees `reshape(x, [1, 2, 58, 28, 28])` and cannot tell whether the network's code computed the 58 of the
shape or holds it as a literal; of `x / C**0.5` it sees a constant. So all groups are pruned here and the network is
run (`ocrslim.pruning.proof`); the layers of groups that fail become unprunable, with that reason.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import paddle
from paddle import Tensor, nn

from ocrslim.errors import GraphError, PlanError
from ocrslim.graph import (
    OUTPUT,
    ChannelGraph,
    Program,
    Shape,
    TrainingForward,
    as_it_was,
    deployed,
    deployed_costs,
    described,
    floating_type,
    foreign_code,
    graph_of_program,
    trace,
)
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.proof.proving import prove
from ocrslim.pruning.proof.runs import Run, deployed_run
from ocrslim.pruning.proof.trial_cuts import cuts_at_random
from ocrslim.pruning.surgery.cutting import is_pruned, named_tensors, pruned

logger = logging.getLogger(__name__)


def channel_graph(
    model: nn.Layer,
    *input_shapes: Shape,
    proof_shapes: Sequence[Shape] | None = None,
    training: TrainingForward | None = None,
) -> ChannelGraph:
    """Trace `model` and prove its groups.

    Mode, attributes, weights and buffers of the model are unchanged; gradients of cut parameters are dropped. Costs
    are those of the network that is deployed (`ocrslim.graph.deployed`).

    A network that cannot be run as it trains is analysed as it infers, and `training_fault` of the graph says so: it
    can be cut, but what only training runs may not fit the rest any more (`require_training`).

    Args:
        input_shapes: shape of each input with its batch, in the order of the network's arguments; inputs have the
            type of its parameters. Costs are counted at these shapes.
        proof_shapes: smaller shapes to prove groups on; by default `input_shapes`.
        training: how a training step runs the network; by default with the inputs alone.

    Raises:
        GraphError: Paddle cannot trace or run the network with such inputs.
        PlanError: the network is pruned already.
        MemoryError: memory does not suffice; the network may be fine.
    """
    if is_pruned(model):
        raise PlanError("this network is pruned already: trace the unpruned one")
    with _chance_as_it_was():
        graph = trace(model, *input_shapes, training=training)
        return _proven(model, graph, input_shapes, proof_shapes or input_shapes, training)


def program_channel_graph(
    model: nn.Layer, program: Program, proof_shape: Shape, training: TrainingForward | None = None
) -> ChannelGraph:
    """Read the groups of `model` from the program that it runs, without a trace, and prove them as `channel_graph`.

    Args:
        model: such as an `ImportedNetwork`, which has one input.
        program: with all sizes known (`ImportedNetwork.program_at`); costs are counted at these.
        proof_shape: of the image that groups are proven on.
        training: as for `channel_graph`.

    Raises:
        GraphError, PlanError, MemoryError: as `channel_graph`.
    """
    if is_pruned(model):
        raise PlanError("this network is pruned already: read the unpruned one")
    with _chance_as_it_was():
        shapes = [value.shape or () for value in program.inputs]
        return _proven(model, graph_of_program(model, program), shapes, [proof_shape], training)


@contextlib.contextmanager
def _chance_as_it_was() -> Iterator[None]:
    """Leave Paddle's random numbers after the block as they were before it."""
    state = paddle.get_rng_state()
    try:
        yield
    finally:
        paddle.set_rng_state(state)


def _proven(
    model: nn.Layer,
    graph: ChannelGraph,
    input_shapes: Sequence[Shape],
    proof_shapes: Sequence[Shape],
    training: TrainingForward | None,
) -> ChannelGraph:
    inference = _inference(model, proof_shapes)
    graph, trains = _as_it_trains(model, graph, training or TrainingForward(proof_shapes))
    with as_it_was(model, training=False), paddle.no_grad():
        made = _deployed(model, inference)
        ways = [inference, *trains, *([] if made is model else [deployed_run(inference)])]
        faults = prove(model, graph.groups.values(), ways)
        graph = _without(graph, faults) if faults else graph
        return graph if made is model else _counted_as_deployed(model, graph, made, input_shapes)


def require_training(graph: ChannelGraph) -> None:
    """Refuse to train a network whose training was not looked at when its channels were grouped.

    Raises:
        GraphError: it was not; the message has the cause.
    """
    if graph.training_fault:
        raise GraphError(
            f"{graph.training_fault}; after a cut its training would fail or compute something else, so it is not "
            "pruned for training"
        )


def _inference(model: nn.Layer, shapes: Sequence[Shape]) -> Run:
    """The run of inference, tried once."""
    run = Run(lambda model, inputs: model(*inputs), _samples(model, shapes))
    what = f"{type(model).__name__}: cannot be run with {described(shapes)}"
    expected = "expected shapes that the network takes, and a type that this device computes in"
    with foreign_code(lambda cause: f"{what} ({cause}): {expected}"), paddle.no_grad():
        run.outputs(model)
    return run


def _as_it_trains(model: nn.Layer, graph: ChannelGraph, step: TrainingForward) -> tuple[ChannelGraph, list[Run]]:
    """Return the graph with what is known of the network's training, and the run of it, if it runs.

    Where it runs but cannot be traced, the proof refuses whatever its training does not bear.
    """
    run = Run(step, _samples(model, step.shapes), training=True, of="as it trains, ")
    labels = f" and {len(step.labels)} labels" if step.labels else ""
    what = f"{type(model).__name__}: cannot be run as it trains, with {described(step.shapes)}{labels}"
    expected = "expected operators with gradients, and the labels that its training step gives it"
    try:
        with foreign_code(lambda cause: f"{what} ({cause}): {expected}"), paddle.no_grad():
            run.outputs(model)
    except GraphError as fault:
        logger.warning("%s; only its inference is analysed, and it must not be trained after a cut", fault)
        return replace(graph, training_fault=str(fault)), []
    if graph.training_fault:
        logger.warning(
            "%s; what only training runs is not followed, and the channels it reads stay", graph.training_fault
        )
    return replace(graph, training_fault=""), [run]


def _samples(model: nn.Layer, shapes: Sequence[Shape]) -> list[Tensor]:
    rng, dtype = np.random.default_rng(0), floating_type(model)
    return [paddle.to_tensor(rng.standard_normal(shape).astype("float32")).astype(dtype) for shape in shapes]


def _deployed(model: nn.Layer, inference: Run) -> nn.Layer:
    """The network as it is deployed; `model` where that is the same one, or cannot be made or run."""
    try:
        with foreign_code(str):
            made = deployed(model)
            inference.outputs(made)
    except GraphError as fault:
        logger.warning("%s; costs are those of the network as it trains", fault)
        return model
    return made


def _counted_as_deployed(
    model: nn.Layer, graph: ChannelGraph, made: nn.Layer, input_shapes: Sequence[Shape]
) -> ChannelGraph:
    """Return the graph with the costs of `made`; as it was if these do not follow the channels, which is tried."""
    try:
        counted, names = deployed_costs(graph, made, input_shapes)
    except GraphError as error:
        logger.warning("%s; costs are those of the network as it trains", error)
        return graph
    full = {key: tuple(tensor.shape) for key, tensor in made.named_parameters()}
    with pruned(model, Plan({}, cuts_at_random(graph.groups.values()))):
        trained = {key: tuple(tensor.shape) for key, tensor in named_tensors(model)}
        left = {key: tuple(tensor.shape) for key, tensor in deployed(model).named_parameters()}
    wrong = [key for key, name in names.items() if left[key] != trained.get(name, full[key])]
    if wrong:
        logger.warning("%s does not lose the channels of a layer that trains: costs are those of training", wrong[0])
        return graph
    return counted


def _without(graph: ChannelGraph, faults: dict[str, str]) -> ChannelGraph:
    reasons = dict(graph.unprunable)
    for name, fault in faults.items():
        group = graph.groups[name]
        where = f" ({', '.join(group.fixed_by)})" if group.fixed_by else ""
        why = f"the network's code fixes the number of channels{where}: {fault}"
        reasons.update({member.key: why for member in group.members if member.role == OUTPUT})
    return replace(graph, groups={k: g for k, g in graph.groups.items() if k not in faults}, unprunable=reasons)
