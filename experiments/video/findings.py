"""Everything that claims, figures and tables are made of: sets of clips by every network, long rollouts, and costs."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import numpy as np

from experiments.video import costs, measures
from experiments.video.costs import Costs
from experiments.video.measures import Measured
from gendiff.commands.video import clip_network, draws
from gendiff.commands.video.config import ATTENTIONS, CAUSAL, FULL, Config
from gendiff.core.types import Params
from gendiff.metrics import motion
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder


@dataclass(frozen=True, eq=False)
class Rollout:
    """A long rollout. confidence: (n, f) in each frame. displacement: (n, f - 1) away from the mean move. shown: the first clips."""

    confidence: np.ndarray
    displacement: np.ndarray
    shown: np.ndarray


@dataclass(frozen=True, eq=False)
class Found:
    """sets: of each attention, by seed. long: of each context noise, by seed. floor: distances of training clips as if they were samples.

    untrained: a network before its training, which answers 0.
    """

    real: Measured
    shuffled: Measured
    untrained: Measured
    floor: np.ndarray
    sets: Mapping[str, tuple[Measured, ...]]
    long: Mapping[float, tuple[Rollout, ...]]
    costs: Costs


def noises(config: Config) -> tuple[float, float]:
    """Context noise of the long rollouts: none, and that of the configuration."""
    return 0.0, config.noise


def of_all(config: Config, folder: RunFolder, progress: Progress) -> Found:
    """From the checkpoints of the folder."""
    judge = measures.ClipJudge(config)
    params = {attention: {seed: clip_network.restore(config, folder, attention, seed) for seed in config.seeds} for attention in ATTENTIONS}
    first = {attention: of[config.seeds[0]] for attention, of in params.items()}
    labels = draws.labels(config.samples)

    def of_set(attention: str, values: Params, name: str) -> Measured:
        title = f"{attention}, {name}"
        return judge.measure(draws.clips(config, attention, values, config.samples, title, progress), labels)

    with progress.phase("sample"):
        sets = {
            attention: tuple(of_set(attention, of, f"seed {seed}") for seed, of in params[attention].items()) for attention in ATTENTIONS
        }
        untrained = of_set(FULL, jax.tree.map(np.zeros_like, first[FULL]), "untrained")
    with progress.phase("long rollouts"):
        long = {
            noise: tuple(_rollout(config, judge, of, seed, noise, progress) for seed, of in params[CAUSAL].items())
            for noise in noises(config)
        }
    with progress.phase("time"):
        spent = costs.measured(config, first)
    return Found(judge.real, judge.shuffled(), untrained, judge.floor, sets, long, spent)


def parts(config: Config, rollout: Rollout) -> np.ndarray:
    """(n, parts) mean confidence in each part of a long rollout that is as long as a training clip."""
    return rollout.confidence.reshape(len(rollout.confidence), -1, config.frames).mean(2)


def _rollout(config: Config, judge: measures.ClipJudge, params: Params, seed: int, noise: float, progress: Progress) -> Rollout:
    count = config.long_samples
    drawn = draws.long_clips(config, params, count, config.long, noise, f"long, noise {noise:g}, seed {seed}", progress)
    rounded = draws.seen(drawn)
    confidence = motion.identity_kept(judge.probabilities(rounded), draws.labels(count))
    return Rollout(confidence, motion.displacement_error(rounded), rounded[: measures.SHOWN])
