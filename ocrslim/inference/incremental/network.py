"""A network and its pruned variants on the runtime, computing only what a variant changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocrslim.errors import LoweringError
from ocrslim.graph import Group, Op, Program, Value
from ocrslim.inference.compiler.conversion.from_program import to_steps
from ocrslim.inference.compiler.executable import Executable
from ocrslim.inference.compiler.ir import Id
from ocrslim.inference.compiler.lowering import lower
from ocrslim.inference.compiler.rewrite import rewrite, shapes_of
from ocrslim.inference.incremental.partition import PRICE, Partition, part, split, unsplit
from ocrslim.inference.incremental.proof import Proof


@dataclass(frozen=True)
class Variant:
    """A network with one group pruned.

    Attributes:
        group: the group; None for the network as it is.
        removed: units of the group that are gone.
        arrays: parameters and buffers that differ, by state-dict key.
        conv_groups: groups of the convolutions that have fewer, by their weight's key.
        proof: what the runtime is held against; None where it is taken on trust.
    """

    group: Group | None = None
    removed: frozenset[int] = frozenset()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    conv_groups: Mapping[str, int] = field(default_factory=dict)
    proof: Proof | None = None


class Bridge:
    """Makes values of the unpruned network from others of it, some of which may be wanted themselves."""

    def __init__(self, run: Executable | None, taken: Sequence[int], known: Sequence[Id], wanted: Sequence[Id]):
        """
        Args:
            run: makes what is wanted and not known, in that order; None where nothing is.
            taken: which of the known values it is fed.
        """
        self._run = run
        self._taken, self._known, self._wanted = taken, known, wanted

    def __call__(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The wanted values, from the known ones in their order."""
        have = dict(zip(self._known, values))
        made = [] if self._run is None else self._run([values[at] for at in self._taken])
        have.update(zip((key for key in self._wanted if key not in have), made))
        return [have[key] for key in self._wanted]


class RuntimeNetwork:
    """An unpruned network as a traced program with its weights; shared by all threads."""

    def __init__(
        self,
        program: Program,
        arrays: Mapping[str, np.ndarray],
        probe_shape: tuple[int, ...],
        use_gpu: bool = False,
        threads: int = 1,
    ):
        """
        Args:
            probe_shape: [N, C, H, W] of a small input that the network takes.
            program: as it infers, traced with free sizes.
            arrays: parameters and buffers by state-dict key.
            threads: CPU threads of one call.

        Raises:
            LoweringError: the runtime does not know some operator, or cannot run the network.
        """
        if not program.outputs or len(program.inputs) != 1:
            raise LoweringError("only networks of one input are known to the runtime")
        self.program = program
        self._arrays = arrays
        self._use_gpu, self._threads = use_gpu, threads
        self.sizes = self._measure_sizes(probe_shape)

    def split(self, group: Group | None, price: float = PRICE) -> Partition:
        """Split the network in two parts around a group; in one part without a group."""
        return unsplit(self.program) if group is None else split(self.program, group, self.sizes, price)

    def bridge(self, before: Partition | None, partition: Partition) -> Bridge | None:
        """Make a bridge to the sources of `partition` from those of `before`, or from the network's input for None.

        Returns None where they do not lead there. To be used in the thread that calls this. The steps are those of the
        network, whatever lies between, so that the values are the same on every way.
        """
        known = self.program.inputs if before is None else tuple(source.value for source in before.sources)
        wanted = [source.value for source in partition.sources]
        missing = [value for value in wanted if value.id not in {one.id for one in known}]
        ops = part(self.program.ops, missing, {value.id for value in known})
        used = {value.id for op in ops for value in (*op.values(), *op.outputs)}
        if used & {value.id for value in self.program.inputs} - {value.id for value in known}:
            return None
        taken = [at for at, value in enumerate(known) if value.id in used]
        run = self._load(ops, [known[at] for at in taken], missing, Variant(), {}, plain=True) if missing else None
        return Bridge(run, taken, [value.id for value in known], [value.id for value in wanted])

    def suffix(self, partition: Partition, variant: Variant) -> Executable:
        """Load what makes the outputs of `variant` from the sources; for the thread that calls this."""
        keeps = {source.value.id: source.keep(variant.removed) for source in partition.sources}
        widths: dict[Id, int] = {key: len(keep) for key, keep in keeps.items() if keep is not None}
        sources = [source.value for source in partition.sources]
        return self._load(partition.suffix, sources, self.program.outputs, variant, widths)

    def _load(
        self,
        ops: Sequence[Op],
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        variant: Variant,
        widths: Mapping[Id, int],
        plain: bool = False,
    ) -> Executable:
        """Load a part of the network, ready to run.

        `widths` are the channels of inputs that are fed pruned. `plain` leaves its steps as they are: what is
        computed once is not worth a search for cheaper ones, and does not depend on how the network is split.
        """
        steps = to_steps(ops, outputs, {**self._arrays, **variant.arrays}, variant.conv_groups)
        shapes = {**shapes_of(ops), **{key: (-1, width, -1, -1) for key, width in widths.items()}}
        makes = [value.id for value in outputs]
        steps = steps if plain else rewrite(steps, makes, shapes)
        lowered = lower(steps, [value.id for value in inputs], makes)
        return Executable(lowered, self._threads, self._use_gpu)

    def _measure_sizes(self, shape: tuple[int, ...]) -> dict[Id, float]:
        """Return the elements of each value for one pixel of the input, read off one small pass."""
        values = {value.id: value for value in _computed(self.program)}
        sizes: dict[Id, float] = {}
        found = self._load(self.program.ops, self.program.inputs, list(values.values()), Variant(), {})
        pixels = shape[2] * shape[3]
        for key, array in zip(values, found([np.zeros(shape, np.float32)])):
            sizes[key] = array.size / pixels
        for op in self.program.ops:
            if op.name == "combine":
                sizes[op.outputs[0].id] = sum(sizes.get(value.id, 0.0) for value in op.values())
        sizes.update((value.id, float(shape[1])) for value in self.program.inputs)
        return sizes


def _computed(program: Program) -> Iterator[Value]:
    """Values that depend on the network's input and are used; no lists."""
    used = {value.id for op in program.ops for value in op.values()} | {value.id for value in program.outputs}
    depends = {value.id for value in program.inputs}
    for op in program.ops:
        if op.name != "data" and not depends.isdisjoint(value.id for value in op.values()):
            depends.update(value.id for value in op.outputs)
            yield from (value for value in op.outputs if value.id in used and value.shape is not None)
