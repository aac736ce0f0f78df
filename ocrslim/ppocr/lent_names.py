"""Classes that PaddleOCR's code looks up by name, in modules that some copies of it no longer import them into.

`MultiHead` and the losses that are made of others call `eval` on a configuration's names. A checkout whose unused
imports were tidied away has nothing under these names there, and none of its MultiHead recognisers can be built.
"""

from __future__ import annotations

import importlib

# Module -> names that it looks up -> the module of each class. All are in the package `ppocr`.
_LOOKED_UP = {
    "modeling.heads.rec_multi_head": {
        "CTCHead": "modeling.heads.rec_ctc_head",
        "SARHead": "modeling.heads.rec_sar_head",
    },
    "losses.rec_multi_loss": {
        "CTCLoss": "losses.rec_ctc_loss",
        "NRTRLoss": "losses.rec_nrtr_loss",
        "SARLoss": "losses.rec_sar_loss",
    },
    "losses.combined_loss": {
        "ACELoss": "losses.ace_loss",
        "CTCLoss": "losses.rec_ctc_loss",
        "CenterLoss": "losses.center_loss",
        "LossFromOutput": "losses.basic_loss",
        "SARLoss": "losses.rec_sar_loss",
    },
}


def lend_names(part: str) -> None:
    """Give the modules of a part of PaddleOCR, which is imported, the classes that they look up and do not have.

    Args:
        part: such as "modeling" or "losses".
    """
    for place, names in _LOOKED_UP.items():
        if place.partition(".")[0] != part:
            continue
        user = _module(place)
        for name, home in names.items():
            found = None if user is None or hasattr(user, name) else getattr(_module(home), name, None)
            if found is not None:
                setattr(user, name, found)


def _module(name: str) -> object | None:
    """Import a module of `ppocr`; None where this copy does not have it."""
    try:
        return importlib.import_module(f"ppocr.{name}")
    except ImportError:
        return None
