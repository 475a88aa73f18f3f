"""Draws plots of committed results again from the numbers that results.json holds:
`python -m experiments.documentation.redraw NAME …`.

Only of studies whose `Experiment.plots` says how. Numbers stay as they are; captions become those of today.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from experiments import catalogue
from experiments.documentation.results_pages import FOLDER
from gendiff.core.errors import ConfigError
from gendiff.runs import registry
from gendiff.runs.reporting import json_files, results
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder


def redraw(name: str, folder: Path) -> list[Figure]:
    """Draws the plots of the study again into a folder with its results, and writes their captions into results.json.

    Raises ConfigError for a study whose tables are not enough for any plot.
    """
    experiment = registry.load(name, catalogue.EXPERIMENTS)
    if experiment.plots is None:
        raise ConfigError(f"{name} has no plots that its tables are enough for")
    plots = list(experiment.plots(experiment.presets["full"], RunFolder(folder), results.read(folder).tables))
    captions, file = {figure.file: figure.caption for figure in plots}, folder / results.FILE
    outcome = json.loads(file.read_bytes())
    for figure in outcome["figures"]:
        figure["caption"] = captions.get(figure["file"], figure["caption"])
    json_files.write(file, outcome)
    return plots


def main(names: Iterable[str]) -> None:
    """Prints each file that is drawn."""
    for name in names:
        for figure in redraw(name, FOLDER / name):
            print(FOLDER / name / figure.file)


if __name__ == "__main__":
    main(sys.argv[1:])
