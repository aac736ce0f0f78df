"""From losses and costs to a plan: ratios by tolerance, by target, in rounds."""

from ocrslim.selection.candidates import Trials
from ocrslim.selection.chooser import Choice, NothingToPrune, Trial, choose_plan, table_of
from ocrslim.selection.iterative import early_rounds

__all__ = ["Choice", "NothingToPrune", "Trial", "Trials", "choose_plan", "early_rounds", "table_of"]
