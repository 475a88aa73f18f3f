"""The scaling-fit experiment: claims on fits of made trainings and on published constants, with plots and tables."""

from experiments.scaling.scaling_fit import published_laws, recovered
from experiments.scaling.scaling_fit.config import Config
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.run_folder import RunFolder


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Nothing is trained: every number is computed here."""
    claims = (*recovered.claims(config, progress), *published_laws.claims(config))
    with progress.phase("tables"):
        tables = (*recovered.tables(config), *published_laws.tables())
    with progress.phase("plots"):
        shown = (recovered.isoflop_plot(config, folder.figure("isoflop")), *published_laws.plots(folder.figure))
    return Outcome(claims, shown, tables)
