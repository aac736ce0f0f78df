"""From losses and costs to a plan: ratios by tolerance, by target, in rounds."""

from ocrslim.selection.candidates import Trials
from ocrslim.selection.chooser import choose_plan, table_of
from ocrslim.selection.iterative import early_rounds

__all__ = ["Trials", "choose_plan", "early_rounds", "table_of"]
