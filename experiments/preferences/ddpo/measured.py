"""Samples of the reference and of every policy, and what is measured of them."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.preferences.ddpo import judges, rewarded, train
from experiments.preferences.ddpo.config import ARMS, DDPO, DIGIT, SCENES, Config, policy, seeds
from experiments.preferences.ddpo.rewarded import RewardedTask
from gendiff.core.types import Params
from gendiff.metrics import classifier_accuracy, features, vendi
from gendiff.runs import drawing
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

DISTINCT = 100
"""Samples of each prompt whose Vendi score is taken."""


@dataclass(frozen=True)
class PolicySamples:
    """Of one policy, m for each of p prompts; sample i shows prompt i mod p.

    images: (m · p, h, w, c). rewards, kl: (m, p), kl of each trajectory as the sum over its steps of the exact KL; 0 for the reference.
    judged: (m, p) whether a judge that took no part in the reward sees what was wanted. agreement: (m, p) whether it says what the reward
    says. Neither is there for ink. vendi: how many distinct samples 100 of a prompt amount to, a mean over prompts.
    """

    images: np.ndarray
    rewards: np.ndarray
    kl: np.ndarray
    judged: np.ndarray | None
    agreement: np.ndarray | None
    vendi: float


@dataclass(frozen=True)
class Found:
    """All that was measured. reference: by reward. policies: by (reward, how), of each seed. others: of scenes that no policy has learned,
    by "reference" and seed.
    """

    reference: dict[str, PolicySamples]
    policies: dict[tuple[str, str], dict[int, PolicySamples]]
    others: dict[Any, PolicySamples]


def of_all(config: Config, folder: RunFolder, progress: Progress) -> Found:
    """From the policies of a run."""
    every = rewarded.every(config, folder)
    reference: dict[str, PolicySamples] = {}
    policies: dict[tuple[str, str], dict[int, PolicySamples]] = {}
    with progress.phase("sample"):
        measures: dict[str, _Measure] = {}
        for reward, task in every.items():
            measures[reward] = measures.get(task.rewards[0]) or _Measure(config, task, progress)
            if reward == task.rewards[0]:
                reference |= measures[reward].reference()
        for reward, how in ARMS:
            of = {seed: train.restore(every[reward], folder, reward, how, seed) for seed in seeds(config, reward, how)}
            policies[reward, how] = {seed: measures[reward](f"{how}, seed {seed}", reward, params) for seed, params in of.items()}
        scenes, measure = every[SCENES], measures[SCENES]
        others: dict[Any, PolicySamples] = {"reference": measure("other prompts, reference", SCENES, scenes.reference, others=True)}
        for seed in policies[SCENES, DDPO]:
            params = train.restore(scenes, folder, SCENES, DDPO, seed)
            others[seed] = measure(f"other prompts, seed {seed}", SCENES, params, others=True)
    return Found(reference, policies, others)


class _Measure:
    """Samples of any policy of one task."""

    def __init__(self, config: Config, task: RewardedTask, progress: Progress) -> None:
        self._config, self._task, self._progress = config, task, progress
        self._of = policy(config, task.rewards[0])
        self._centre: np.ndarray | None = None

    def reference(self) -> dict[str, PolicySamples]:
        """Of the reference: many, without a KL; the same ones for all rewards."""
        draw = functools.partial(self._task.plain, self._task.reference)
        images, scores = self._drawn("reference", self._of.reference, draw, others=False)
        zeros = np.zeros(len(images))
        return {reward: self._samples(reward, images, scores, zeros, others=False) for reward in self._task.rewards}

    def __call__(self, title: str, reward: str, params: Params, *, others: bool = False) -> PolicySamples:
        draw = functools.partial(self._task.compared, params, self._task.reference)
        images, scores, kl = self._drawn(f"{reward}, {title}", self._of.samples, draw, others)
        return self._samples(reward, images, scores, kl, others)

    def _drawn(self, title: str, count: int, draw: Any, others: bool) -> Any:
        index, prompt = self._numbers(count, others)
        drawn = drawing.whole(draw, index, prompt, together=self._of.together, title=f"sample {title}", progress=self._progress)
        drawing.check_finite(drawn[0], index, title)
        return drawn

    def _numbers(self, count: int, others: bool) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and prompts of samples. others: prompts that no policy has learned from."""
        index = np.arange(count * self._task.prompts, dtype=np.int32)
        return index, self._task.prompt(index) + np.int32(self._task.prompts if others else 0)

    def _samples(self, reward: str, images: np.ndarray, scores: np.ndarray, kl: np.ndarray, others: bool) -> PolicySamples:
        rewards = scores[:, self._task.rewards.index(reward)].astype(np.float64)
        shape = (len(images) // self._task.prompts, self._task.prompts)
        _, prompt = self._numbers(shape[0], others)
        judged, agreement = self._judged(reward, images, rewards, prompt)
        return PolicySamples(
            images,
            rewards.reshape(shape),
            kl.reshape(shape).astype(np.float64),
            None if judged is None else judged.reshape(shape),
            None if agreement is None else agreement.reshape(shape),
            self._distinct(images),
        )

    def _judged(
        self, reward: str, images: np.ndarray, rewards: np.ndarray, prompt: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        if self._task.asked is not None:
            judge = judges.judge_of_scenes(self._config.scene_crops)
            seen = judges.seen_in_scenes(judge, images, self._task.asked[prompt])
            return seen, seen == (rewards > 0.5)
        return digits_agree(self._config.digit, images) if reward == DIGIT else (None, None)

    def _distinct(self, images: np.ndarray) -> float:
        pixels = features.pixels(np.clip(images, -1.0, 1.0))
        if self._centre is None:  # the reference comes first, and all are centred by it
            self._centre = pixels.mean(0, keepdims=True)
        groups = (pixels[prompt :: self._task.prompts][:DISTINCT] - self._centre for prompt in range(self._task.prompts))
        return float(np.mean([vendi.score(group) for group in groups]))


def digits_agree(digit: int, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) whether the judge sees the digit, and whether it and the classifier say the same of it."""
    seen = classifier_accuracy.seen(judges.judge_of_digits(), np.clip(images, -1.0, 1.0)) == digit
    said = np.asarray(judges.log_probabilities(jax.numpy.asarray(images)).argmax(1)) == digit
    return seen, seen == said
