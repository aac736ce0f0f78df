"""The command `report`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from ocrslim.cli.commands.base import Command, Result

if TYPE_CHECKING:
    from ocrslim.config import Config

_CONFIG = "config.yml"


def _report(config: Config | None, arguments: Namespace) -> Result:
    from ocrslim.report import write_report

    if config is not None:
        from ocrslim.commands import run_samples

        run_samples(config, arguments.folder, arguments.images)
    path = write_report(arguments.folder)
    print(f"report: {path}")
    return {"report": str(path), "bytes": path.stat().st_size}


def _report_configuration(arguments: Namespace) -> Config | None:
    """Read the configuration of the run, where networks are to be run; the page itself needs none."""
    from ocrslim.config import load_config
    from ocrslim.report import run_folder

    if arguments.images is None:
        return None
    return load_config(arguments.config or run_folder(arguments.folder) / _CONFIG, arguments.opt)


def _report_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        metavar="RUN",
        help="folder of a run: Global.save_model_dir of prune, or --out of compress; before -o",
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        help="run the networks before and after on these images first, and show where they differ",
    )


REPORT = Command(
    "show a run as a page -> report.html",
    (
        "The page is one file that needs no network. It has what was gained, both networks' findings in images, the "
        "plans by tolerance and by target with sliders, the costs layer by layer, the training, what was left alone "
        "and why, and how to do it again. It is made of the files of the run, and says what these lack."
    ),
    {
        "a run of prune": "output/det_db",
        "with images on which the networks before and after are compared": "output/det_db --images DIR",
    },
    _report,
    _report_arguments,
    configure=_report_configuration,
    needs_config=False,
    data_sets=("Eval",),
    reads_weights=True,
    needs_paddle=lambda arguments: arguments.images is not None,
)
