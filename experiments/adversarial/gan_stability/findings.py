"""What the samples and losses of all runs show, before it is held against thresholds."""

from dataclasses import dataclass

import numpy as np
import scipy

from experiments.adversarial import targets
from experiments.adversarial.gan_stability import oscillation, train
from experiments.adversarial.gan_stability.config import EXACT, NOISE, Config, followed
from experiments.adversarial.gan_stability.oscillation import Spectrum
from experiments.adversarial.methods import DIFFUSION
from experiments.adversarial.targets import GRID
from gendiff.metrics.modes import ModeReport
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder

SHUFFLED_SEED = 0


@dataclass(frozen=True, eq=False)
class Found:
    """Of one method, or of a control, which has one pace.

    reports: (paces, seeds) of the samples at the end. drawn: of each place of the training, samples (paces, seeds, n,
    2). losses: (paces, seeds, steps). spectra: of their settled part, one per run. over_time: samples (places, paces,
    seeds, n, 2) of the parameters themselves; of uniform noise there are none.
    """

    name: str
    reports: np.ndarray
    drawn: tuple[np.ndarray, ...]
    losses: np.ndarray
    spectra: tuple[Spectrum, ...]
    over_time: np.ndarray

    @property
    def modes(self) -> np.ndarray:
        """(paces, seeds) at the end."""
        return np.vectorize(lambda report: report.modes, otypes=[int])(self.reports)

    @property
    def good(self) -> np.ndarray:
        """(paces, seeds) share of good samples at the end."""
        return np.vectorize(lambda report: report.good, otypes=[float])(self.reports)

    def succeeded(self, config: Config) -> np.ndarray:
        """(paces, seeds) bool."""
        return (self.modes >= config.success.modes) & (self.good > config.success.good)

    def swings(self, config: Config) -> np.ndarray:
        """Of the runs with a spectrum, the share of the variance of the loss in slow swings."""
        return _finite([each.share(config.slowest, config.fastest) for each in self.spectra])


def of_all(config: Config, folder: RunFolder, progress: Progress) -> dict[str, Found]:
    """By method, the controls last, from the files of the training."""
    results = {}
    for method in config.methods:
        with progress.phase(f"judge {method}"):
            over_training = [train.read(config, folder, method, share) for share in config.shares]
            curves, over_time = train.losses(config, folder, method), train.over_time(config, folder, method)
            results[method] = summed_up(config, method, over_training, curves, over_time)
    return results | {name: control(config, name) for name in (EXACT, NOISE)}


def control(config: Config, name: str) -> Found:
    """Samples of a control, as many as those of a method at its end, for each seed and at each place others."""
    draw, count = targets.exact if name == EXACT else targets.noise, config.points.samples
    samples = np.stack([draw(GRID, config.points.last_samples, seed) for seed in config.seeds])[None]
    parts = range(1, 1 + len(followed(config))) if name == EXACT else ()
    over_time = [[[targets.exact(GRID, count, seed, part) for seed in config.seeds]] for part in parts]
    return summed_up(config, name, [samples], np.zeros((1, len(config.seeds), 0)), np.array(over_time))


def summed_up(
    config: Config, name: str, over_training: list[np.ndarray], losses: np.ndarray, over_time: np.ndarray
) -> Found:
    """What samples at each place, the last at the end, losses, and samples over the later part show."""
    reports = np.empty(over_training[-1].shape[:2], object)
    for position in np.ndindex(reports.shape):
        reports[position] = _report(over_training[-1][position])
    spectra = tuple(oscillation.spectrum(curve, config.slowest) for curve in later_part(config, losses))
    return Found(name, reports, tuple(over_training), losses, spectra, over_time)


def later_part(config: Config, losses: np.ndarray) -> np.ndarray:
    """(runs, m) the later part of losses (paces, seeds, steps)."""
    runs, steps = losses.shape[0] * losses.shape[1], losses.shape[2]
    return losses.reshape(runs, steps)[:, round(config.settled * steps) :]


def shuffled(config: Config, result: Found) -> np.ndarray:
    """The swings of the same losses in random order, which has none: the spectrum of what is left is that of white
    noise.
    """
    draw = np.random.default_rng(SHUFFLED_SEED)
    spectra = [
        oscillation.spectrum(draw.permutation(curve), config.slowest) for curve in later_part(config, result.losses)
    ]
    return _finite([each.share(config.slowest, config.fastest) for each in spectra])


def against_diffusion(config: Config, results: dict[str, Found], name: str) -> float:
    """The p-value of Fisher's exact test: successes of a method against those of diffusion."""
    table = [
        [int(hits.sum()), int((~hits).sum())]
        for hits in (results[each].succeeded(config) for each in (name, DIFFUSION))
    ]
    return float(scipy.stats.fisher_exact(table, alternative="two-sided").pvalue)


def mean(values: np.ndarray) -> Number:
    """Of runs, with its interval; NaN where fewer than two runs have a value."""
    return intervals.interval(np.mean, values) if len(values) > 1 else (np.nan, np.nan, np.nan)


def _report(samples: np.ndarray) -> ModeReport:
    return targets.report(GRID, samples, np.zeros(0, np.int16), len(samples))


def _finite(values: list[float]) -> np.ndarray:
    shares = np.array(values, np.float64)
    return shares[np.isfinite(shares)]
