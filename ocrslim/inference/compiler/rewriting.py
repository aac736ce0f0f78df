"""What is rewritten, and by what costs."""

from __future__ import annotations

from dataclasses import dataclass, field

from ocrslim.inference.compiler.cost_model import CostModel


@dataclass(frozen=True)
class Rewriting:
    """What is rewritten: which kinds of algebra, and by what costs.

    Attributes:
        sums: sums of linear maps.
        gates: maps with their gated copies.
        phases: pairs of transposed convolutions.
        any_size: take as sums of maps only what is one for images of any size. Else it is enough that the maps have
            been traced as of one size: so they are in every image but those of a few pixels, whose smallest maps are
            stretched to those that they are added to.
        upsampling: None writes upsampling by nearest neighbour as what it is. A number writes it as a transposed
            convolution, in groups of whole blocks of so many channels (`group_width`); 1 means of single channels.
        costs: of the runtime; with `transposed` infinite, convolutions of upsampled maps stay behind the upsampling.
    """

    sums: bool = True
    gates: bool = True
    phases: bool = True
    any_size: bool = False
    upsampling: int | None = None
    costs: CostModel = field(default_factory=CostModel)
