"""Runs that succeed, and losses that swing, as claims."""

import functools
from collections.abc import Iterator

from experiments.adversarial.gan_stability import figures, findings
from experiments.adversarial.gan_stability.config import EXACT, NOISE, Config
from experiments.adversarial.gan_stability.findings import Found
from experiments.adversarial.methods import DIFFUSION, VANILLA
from gendiff.metrics import proportions
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import intervals, verdicts
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every claim, from the samples and losses that training left."""
    found = findings.of_all(config, folder, progress)
    with progress.phase("figures"):
        shown, tables = figures.every(config, folder, found), figures.tables(config, found)
        explorer = figures.over_training(config, folder, found)
    return Outcome(claims(config, found), (*figures.plots(config, folder, tables), *shown), tables, (explorer,))


def claims(config: Config, found: dict[str, Found]) -> tuple[Claim, ...]:
    """Every claim, by what was found of each method."""
    return (*_successes(config, found), *_swings(config, found), *_controls(config, found))


def _successes(config: Config, found: dict[str, Found]) -> Iterator[Claim]:
    plain, diffusion = (found[name].succeeded(config).ravel() for name in (VANILLA, DIFFUSION))
    claim = functools.partial(verdicts.against, config.thresholds, None, n=len(diffusion), figure="successes.png")
    yield claim("diffusion", "share of the runs of diffusion that succeed, over learning rates and seeds", intervals.share(diffusion), ">=")
    p_value = findings.against_diffusion(config, found, VANILLA)
    yield claim("p-value", "p-value of the plain GAN's successes against those of diffusion, by Fisher's exact test", p_value, "<=")
    apart = proportions.difference(proportions.share(diffusion), proportions.share(plain)).number
    yield claim("difference", "share of successes of diffusion minus that of the plain GAN", apart, ">=")


def _swings(config: Config, found: dict[str, Found]) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, None, figure="spectra.png")
    slow = f"swings of {config.fastest} to {config.slowest} steps"
    plain, diffusion = (found[name].swings(config) for name in (VANILLA, DIFFUSION))
    statement = f"share of the variance of the plain GAN's critic loss in {slow}"
    yield claim("oscillation", statement, findings.mean(plain), ">=", n=max(1, len(plain)))
    yield claim("steady", f"share of the variance of diffusion's loss in {slow}", findings.mean(diffusion), "<=", n=max(1, len(diffusion)))
    mixed = findings.shuffled(config, found[VANILLA])
    statement = f"share of the variance in {slow} of the plain GAN's losses in random order"
    yield claim("shuffled", statement, findings.mean(mixed), "<=", "steady", n=max(1, len(mixed)), kind="control")


def _controls(config: Config, found: dict[str, Found]) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, None, n=len(config.seeds), kind="control")
    noise, exact = (float(found[name].succeeded(config).mean()) for name in (NOISE, EXACT))
    yield claim("noise-runs", "share of seeds in which uniform noise counts as a success", noise, "<=")
    yield claim("exact-runs", "share of seeds in which an exact sampler counts as a success", exact, ">=")
