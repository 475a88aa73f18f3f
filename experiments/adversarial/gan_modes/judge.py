"""Modes, good samples, and the plain GAN against diffusion, as claims."""

import functools
from collections.abc import Iterator

import numpy as np
import scipy.stats

from experiments.adversarial.gan_modes import figures, findings
from experiments.adversarial.gan_modes.config import EXACT, NOISE, Config
from experiments.adversarial.gan_modes.findings import Found
from experiments.adversarial.methods import DIFFUSION, PENALISED, VANILLA
from experiments.adversarial.targets import GRID, RING, known
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import intervals, verdicts
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every claim, from the samples that training left."""
    found = findings.of_all(config, folder, progress)
    with progress.phase("figures"):
        shown = figures.every(config, folder, found)
        explorer = figures.over_training(config, folder, found)
    return Outcome(claims(config, found), shown, figures.tables(config, found), (explorer,))


def claims(config: Config, found: dict[str, dict[str, Found]]) -> tuple[Claim, ...]:
    """Every claim, by what was found on each target."""
    return (*_of_seeds(config, found), *_of_all(config, found[GRID]), *_controls(config, found[GRID]))


def _of_seeds(config: Config, found: dict[str, dict[str, Found]]) -> Iterator[Claim]:
    count = config.points.last_samples
    for number, seed in enumerate(config.seeds):
        claim = functools.partial(verdicts.against, config.thresholds, seed, n=count, figure="coverage.png")
        for target in (RING, GRID):
            of = found[target][DIFFUSION].reports[number]
            modes = f"modes that diffusion covers, of the {of.known} of the {target}"
            yield claim(f"diffusion-{target}", modes, float(of.modes), ">=", f"{target}_modes")
            hits = np.arange(count) < of.counts.sum()
            yield claim(
                f"diffusion-{target}-good", f"share of good samples of diffusion on the {target}", intervals.share(hits), ">=", "good"
            )
        penalised = found[GRID][PENALISED].reports[number]
        statement = f"modes that WGAN-GP covers, of the {penalised.known} of the grid"
        yield claim("penalised-modes", statement, float(penalised.modes), ">=")


def _of_all(config: Config, found: dict[str, Found]) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, None, n=len(config.seeds), figure="coverage.png")
    plain, diffusion = found[VANILLA].modes, found[DIFFUSION].modes
    share = float(np.mean(plain < known(GRID)))
    yield claim("collapsed", f"share of seeds in which the plain GAN covers fewer than {known(GRID)} modes of the grid", share, ">=")
    differ = len(set(plain) | set(diffusion)) > 1
    p_value = float(scipy.stats.mannwhitneyu(plain, diffusion, alternative="two-sided").pvalue) if differ else 1.0
    yield claim("p-value", "p-value of the modes of the plain GAN against those of diffusion on the grid", p_value, "<=")


def _controls(config: Config, found: dict[str, Found]) -> Iterator[Claim]:
    count = config.points.last_samples
    for number, seed in enumerate(config.seeds):
        claim = functools.partial(verdicts.against, config.thresholds, seed, n=count, kind="control")
        of = float(found[NOISE].reports[number].modes)
        yield claim("noise-modes", "modes of the grid that uniform noise covers", of, "<=")
        of = float(found[EXACT].reports[number].modes)
        yield claim("exact-modes", "modes of the grid that an exact sampler covers", of, ">=", "grid_modes")
