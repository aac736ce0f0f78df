"""The result of a sensitivity analysis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ocrslim.api.model import Model
from ocrslim.api.picture import Picture
from ocrslim.formats import Sensitivities
from ocrslim.report import SensitivityPicture, sensitivity_figures
from ocrslim.sensitivity import SensitivityResult

if TYPE_CHECKING:
    import pandas


class SensitivityTable:
    """Losses by layer and ratio.

    Attributes:
        model: the analysed model, with the settings of the analysis.
        result: the measurements.
    """

    def __init__(self, model: Model, result: SensitivityResult):
        self.model, self.result = model, result

    @property
    def path(self) -> Path:
        """The file `sen.pickle`."""
        return self.result.table_path

    @property
    def losses(self) -> Sensitivities:
        """{layer: {ratio: loss}}; a loss is the relative fall of the score, as PaddleSlim defines it."""
        return self.result.measured.table

    @property
    def baseline(self) -> dict[str, float]:
        """The scores of the unpruned network."""
        return dict(self.result.measured.record["baseline"])

    def plot(self, curves: bool = False) -> Picture:
        """Plot the losses as a heat map of layers by ratios, or as a curve for each layer."""
        return Picture(sensitivity_figures(self.picture)[curves])

    @property
    def picture(self) -> SensitivityPicture:
        """The data of the plots."""
        return self.result.picture()

    def to_frame(self) -> pandas.DataFrame:
        """Return the losses as a pandas table: a row for each layer, a column for each ratio.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas

        frame = pandas.DataFrame.from_dict(self.losses, orient="index")
        return frame.sort_index(axis="columns").rename_axis("layer")

    def __repr__(self) -> str:
        points = sum(map(len, self.losses.values()))
        return f"<SensitivityTable {self.path}: {len(self.losses)} layers, {points} points>"
