"""What the samples of all seeds show, before it is held against thresholds."""

import math
from dataclasses import dataclass, replace

import numpy as np

from experiments.adversarial import targets
from experiments.adversarial.gan_modes import train
from experiments.adversarial.gan_modes.config import EXACT, NOISE, Config, numbers
from experiments.adversarial.gan_modes.train import KEPT, Drawn
from gendiff.metrics import transport
from gendiff.metrics.modes import ModeReport
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder


@dataclass(frozen=True)
class Found:
    """Of one method or control on one target.

    name: of the method or control. reports: of each seed, of the samples at the end. distances: (seeds,) Wasserstein
    distance of points to as many real ones; NaN of pictures. covered: (places, seeds) modes among the first samples at
    each place of the training; of a control at one place. drawn: at each place. unaveraged: of each seed, of points
    that the parameters themselves draw; () for the others.
    """

    name: str
    reports: tuple[ModeReport, ...]
    distances: np.ndarray
    covered: np.ndarray
    drawn: tuple[Drawn, ...]
    unaveraged: tuple[ModeReport, ...] = ()

    @property
    def modes(self) -> np.ndarray:
        """(seeds,) at the end."""
        return np.array([report.modes for report in self.reports])

    @property
    def good(self) -> np.ndarray:
        """(seeds,) share of good samples at the end."""
        return np.array([report.good for report in self.reports])


def of_all(config: Config, folder: RunFolder, progress: Progress) -> dict[str, dict[str, Found]]:
    """By target and method, the controls last, from the files of the training."""
    results: dict[str, dict[str, Found]] = {}
    for target in config.targets:
        with progress.phase(f"judge {target}"):
            by_method = {
                name: [train.read(folder, target, name, share) for share in config.shares] for name in config.methods
            }
            by_method |= {name: [control(config, target, name)] for name in (EXACT, NOISE)}
            results[target] = {name: summed_up(config, target, name, each) for name, each in by_method.items()}
            for name in config.methods if target != targets.STACKED else ():
                reports = _reports(config, target, train.unaveraged(config, folder, target, name))
                results[target][name] = replace(results[target][name], unaveraged=reports)
    return results


def control(config: Config, target: str, name: str) -> Drawn:
    """Samples of a control, as many as those of a method at its end, for each seed others."""
    draw, count = targets.exact if name == EXACT else targets.noise, numbers(config, target).last_samples
    samples = np.stack([draw(target, count, seed) for seed in config.seeds])
    if target != targets.STACKED:
        return Drawn(samples, np.zeros((len(samples), 0), np.int16))
    return Drawn(samples[:, :KEPT], np.stack([targets.modes_of(each) for each in samples]).astype(np.int16))


def summed_up(config: Config, target: str, name: str, over_training: list[Drawn]) -> Found:
    """What the samples of a method or control show: those at each place of its training, the last at its end."""
    last, count = over_training[-1], numbers(config, target).samples
    covered = np.array(
        [[report.modes for report in _reports(config, target, samples, count)] for samples in over_training]
    )
    pairs = zip(config.seeds, last.samples, strict=True)
    distances = np.array([_distance(config, target, samples, seed) for seed, samples in pairs])
    return Found(name, _reports(config, target, last), distances, covered, tuple(over_training))


def _reports(config: Config, target: str, at_share: Drawn, count: int | None = None) -> tuple[ModeReport, ...]:
    """Of each seed, of its first samples, by default as many as there are at the end."""
    count = numbers(config, target).last_samples if count is None else count
    pairs = zip(at_share.samples, at_share.labels, strict=True)
    return tuple(targets.report(target, samples, labels, count) for samples, labels in pairs)


def _distance(config: Config, target: str, samples: np.ndarray, seed: int) -> float:
    """To real samples that no control holds."""
    if target == targets.STACKED:
        return math.nan
    count = config.transported
    return transport.wasserstein2(samples[:count], targets.exact(target, count, seed, 1))
