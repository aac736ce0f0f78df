"""Plans from losses and costs: by tolerance, by target, in rounds; and stage 2 as a whole."""

from ocrslim.selection.candidates import CandidateScores
from ocrslim.selection.chooser import Choice, NothingToPrune, choose_plan
from ocrslim.selection.stage import PruneResult, choose, prune_and_train, training_pace

__all__ = [
    "CandidateScores",
    "Choice",
    "NothingToPrune",
    "PruneResult",
    "choose",
    "choose_plan",
    "prune_and_train",
    "training_pace",
]
