"""Plans and what carries them out: scores of channels, surgery, refitting, costs."""

from ocrslim.pruning.calibration import calibration_inputs
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.cost import MACS, Cost, CostOfCounts, ProductCost, measure_cost, product_cost
from ocrslim.pruning.criteria import RECONSTRUCTION
from ocrslim.pruning.layer_patterns import check_patterns, losing, match_groups, matches, require_patterns
from ocrslim.pruning.loading import (
    WEIGHTS,
    Network,
    load_network,
    load_prunable,
    refuse_pruned,
    untrained,
    which_counts,
)
from ocrslim.pruning.loss_rules import loss_at, loss_of, ratio_by_loss
from ocrslim.pruning.plan import SUFFIX, Cut, Plan, combine
from ocrslim.pruning.prunable import Scored, load_scored, model_graph
from ocrslim.pruning.refit.recover import recover
from ocrslim.pruning.surgery import apply_plan, cut, named_tensors, pruned

__all__ = [
    "MACS",
    "RECONSTRUCTION",
    "SUFFIX",
    "WEIGHTS",
    "ChannelPruner",
    "Cost",
    "CostOfCounts",
    "Cut",
    "Network",
    "Plan",
    "ProductCost",
    "Scored",
    "apply_plan",
    "calibration_inputs",
    "check_patterns",
    "combine",
    "cut",
    "load_network",
    "load_prunable",
    "load_scored",
    "losing",
    "loss_at",
    "loss_of",
    "match_groups",
    "matches",
    "measure_cost",
    "model_graph",
    "named_tensors",
    "product_cost",
    "pruned",
    "ratio_by_loss",
    "recover",
    "refuse_pruned",
    "require_patterns",
    "untrained",
    "which_counts",
]
