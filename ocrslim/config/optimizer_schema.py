"""The section `Optimizer`: PaddleOCR's optimizers and schedules of the learning rate, by its names and arguments."""

from typing import Annotated, Any, Literal, Optional, Union

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator

from ocrslim.schema import (
    ABSENT,
    ASCENDING,
    SOME,
    BelowOne,
    Flag,
    Number,
    Off,
    Section,
    Text,
    Tiny,
    ZeroToOne,
    expected,
    fault,
    real,
    whole,
)

MOST_EPOCHS = 1_000_000
_Epochs = Annotated[Number, real(0, MOST_EPOCHS)]
_SomeEpochs = Annotated[Number, real(0, MOST_EPOCHS, above=True)]
_EpochList = Annotated[list[_SomeEpochs], SOME, ASCENDING, expected("a list of epochs above 0, ascending")]
_Rate = Annotated[Number, real(0, 100)]  # of learning
_BY_NAME = Field(discriminator="name")


class _Scheduled(Section):
    """A schedule; PaddleOCR fills in `epochs` and `step_each_epoch` itself, whatever a file has."""

    warmup_epoch: _Epochs = ABSENT
    epochs: Any = ABSENT
    step_each_epoch: Any = ABSENT


class Steady(_Scheduled):
    """A learning rate that starts at one value."""

    name: Literal["Const", "Cosine", "TwoStepCosine"] = ABSENT
    learning_rate: _Rate


class Piecewise(_Scheduled):
    """Learning rates by epoch; PaddleOCR's files often leave `learning_rate` beside them, where it means nothing."""

    name: Literal["Piecewise"]
    decay_epochs: _EpochList
    values: Annotated[
        list[_Rate],
        SOME,
        expected("a list of learning rates, one more than decay_epochs, each a number of at least 0 and at most 100"),
    ]
    learning_rate: _Rate = ABSENT

    @field_validator("values")
    @classmethod
    def _one_for_each_piece(cls, values: list[float], info: ValidationInfo) -> list[float]:
        pieces = len(info.data["decay_epochs"]) + 1 if "decay_epochs" in info.data else len(values)
        if len(values) != pieces:
            raise fault(f"found {len(values)} learning rates, expected {pieces}: one more than decay_epochs")
        return values


class Linear(_Scheduled):
    name: Literal["Linear"]
    learning_rate: _Rate
    end_lr: _Rate = ABSENT
    power: Annotated[Number, real(0, 100, above=True)] = ABSENT


class DecayLearningRate(_Scheduled):
    """A polynomial that ends at 0, as PaddleOCR reads no `end_lr` here."""

    name: Literal["DecayLearningRate"]
    learning_rate: _Rate
    factor: Annotated[Number, real(0, 100, above=True)] = ABSENT
    end_lr: _Rate = ABSENT


class Step(_Scheduled):
    name: Literal["Step"]
    learning_rate: _Rate
    step_size: Annotated[int, whole(1, MOST_EPOCHS)]
    gamma: BelowOne


class MultiStepDecay(_Scheduled):
    name: Literal["MultiStepDecay"]
    learning_rate: _Rate
    milestones: _EpochList
    gamma: BelowOne


class CyclicalCosine(_Scheduled):
    name: Literal["CyclicalCosine"]
    learning_rate: _Rate
    cycle: _SomeEpochs


class LinearWarmupCosine(_Scheduled):
    name: Literal["LinearWarmupCosine"]
    learning_rate: _Rate
    start_lr: _Rate = ABSENT
    min_lr: _Rate = ABSENT
    warmup_steps: Annotated[int, whole(0)] = ABSENT


class OneCycle(_Scheduled):
    """One cycle up to `max_lr` and down; `learning_rate` means nothing beside it."""

    name: Literal["OneCycle"]
    max_lr: _Rate
    anneal_strategy: Literal["cos", "linear"] = ABSENT
    three_phase: Flag = ABSENT
    learning_rate: _Rate = ABSENT


def _schedule(value: Any) -> Any:
    """Return the name of a schedule; without one it is constant."""
    name = value.get("name") or "Const" if isinstance(value, dict) else None
    return name if isinstance(name, str) else None


Schedule = Annotated[
    Union[
        Annotated[Steady, Tag("Const")],
        Annotated[Steady, Tag("Cosine")],
        Annotated[Steady, Tag("TwoStepCosine")],
        Annotated[Piecewise, Tag("Piecewise")],
        Annotated[Linear, Tag("Linear")],
        Annotated[DecayLearningRate, Tag("DecayLearningRate")],
        Annotated[Step, Tag("Step")],
        Annotated[MultiStepDecay, Tag("MultiStepDecay")],
        Annotated[CyclicalCosine, Tag("CyclicalCosine")],
        Annotated[LinearWarmupCosine, Tag("LinearWarmupCosine")],
        Annotated[OneCycle, Tag("OneCycle")],
    ],
    Discriminator(_schedule),
]


class Decay(Section):
    name: Literal["L1", "L2", "L1Decay", "L2Decay"]
    factor: ZeroToOne


class Average(Section):
    """An average of the weights over the training."""

    decay: BelowOne = 0.999


class _Optimizer(Section):
    lr: Schedule
    regularizer: Optional[Annotated[Decay, _BY_NAME]] = ABSENT
    weight_decay: ZeroToOne = ABSENT
    clip_norm: Annotated[Number, real(0, 1e9, above=True)] = ABSENT
    clip_norm_global: Annotated[Number, real(0, 1e9, above=True)] = ABSENT
    ema: Optional[Average] = ABSENT


_NO_GROUPS = "false: VisionLAN's rates by group of layers are not supported; take it out to train all at one rate"


class _Moments(_Optimizer):
    """An optimizer by averages of the gradient and its square."""

    beta1: BelowOne = ABSENT
    beta2: BelowOne = ABSENT
    epsilon: Tiny = ABSENT


class Adam(_Moments):
    name: Literal["Adam"]
    group_lr: Annotated[Off, expected(_NO_GROUPS)] = ABSENT
    training_step: Any = ABSENT


class AdamW(_Moments):
    name: Literal["AdamW"]
    no_weight_decay_name: Annotated[Text, expected("parts of parameters' names, with blanks between them")] = ABSENT
    one_dim_param_no_weight_decay: Flag = ABSENT


class Momentum(_Optimizer):
    name: Literal["Momentum"]
    momentum: BelowOne = ABSENT


class RMSProp(_Optimizer):
    name: Literal["RMSProp"]
    momentum: BelowOne = ABSENT
    rho: BelowOne = ABSENT
    epsilon: Tiny = ABSENT


class Adadelta(_Optimizer):
    """Adadelta; PaddleOCR's files give it arguments that it does not read, one of them misspelt."""

    name: Literal["Adadelta"]
    rho: BelowOne = ABSENT
    epsilon: Tiny = ABSENT
    momentum: Any = ABSENT
    weight_deacy: Any = ABSENT


Optimizer = Annotated[Union[Adam, AdamW, Momentum, RMSProp, Adadelta], _BY_NAME]
