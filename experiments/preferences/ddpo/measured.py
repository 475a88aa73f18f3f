"""Samples of the reference and of every policy, and what is measured of them."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.preferences.ddpo import judges, kl_frontier, rewarded, train
from experiments.preferences.ddpo.config import ARMS, DDPO, DIGIT, INK, SCENES, Config, policy, seeds, updates
from experiments.preferences.ddpo.rewarded import MOST, RewardedTask
from gendiff.core.types import Params
from gendiff.metrics import classifier_accuracy, features, vendi
from gendiff.runs import drawing
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured

DISTINCT = 100
"""Samples of each prompt whose Vendi score is taken."""
CHOICES, FEW = (4, 16, 64), 4
"""Of best-of-n in tables, and of what one sample of a policy is held against."""
WINDOW = 5
"""Updates that a point of a curve is a mean over."""
PUSHED = "pictures of other digits, pushed up the reward's gradient"

interval = functools.partial(intervals.interval, resamples=300)


@dataclass(frozen=True)
class PolicySamples:
    """Of one policy, m for each of p prompts; sample i shows prompt i mod p.

    images: (m · p, h, w, c). rewards, kl: (m, p), kl of each trajectory as the sum over its steps of the exact KL; 0
        for the reference.
    judged: (m, p) whether a judge that took no part in the reward sees what was wanted. agreement: (m, p) whether it
    says what the reward says. Neither is there for ink. vendi: how many distinct samples 100 of a prompt amount to, a
    mean over prompts.
    """

    images: np.ndarray
    rewards: np.ndarray
    kl: np.ndarray
    judged: np.ndarray | None
    agreement: np.ndarray | None
    vendi: float


@dataclass(frozen=True)
class Found:
    """All that was measured. reference: by reward. policies: by (reward, how), of each seed. others: of scenes that no
    policy has learned, by "reference" and seed.
    """

    reference: dict[str, PolicySamples]
    policies: dict[tuple[str, str], dict[int, PolicySamples]]
    others: dict[Any, PolicySamples]


def of_all(config: Config, folder: RunFolder, progress: Progress) -> Found:
    """From the policies of a run."""
    tasks = rewarded.tasks(config, folder)
    reference: dict[str, PolicySamples] = {}
    policies: dict[tuple[str, str], dict[int, PolicySamples]] = {}
    with progress.phase("sample"):
        measures: dict[str, _Measure] = {}
        for reward, task in tasks.items():
            measures[reward] = measures.get(task.rewards[0]) or _Measure(config, task, progress)
            if reward == task.rewards[0]:
                reference |= measures[reward].reference()
        for reward, how in ARMS:
            by_seed = {
                seed: train.restore(tasks[reward], folder, reward, how, seed) for seed in seeds(config, reward, how)
            }
            policies[reward, how] = {
                seed: measures[reward](f"{how}, seed {seed}", reward, params) for seed, params in by_seed.items()
            }
        scenes, measure = tasks[SCENES], measures[SCENES]
        others: dict[Any, PolicySamples] = {
            "reference": measure("other prompts, reference", SCENES, scenes.reference, others=True)
        }
        for seed in policies[SCENES, DDPO]:
            params = train.restore(scenes, folder, SCENES, DDPO, seed)
            others[seed] = measure(f"other prompts, seed {seed}", SCENES, params, others=True)
    return Found(reference, policies, others)


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """What each policy gained, at which KL, what judges say of it, and what it lost in diversity."""
    results = of_all(config, folder, progress)
    with progress.phase("judge"):
        for reward in (DIGIT, INK, SCENES):
            yield from policies_of(reward, results, folder)
        for name, samples in results.others.items():
            title = name if isinstance(name, str) else f"seed {name}"
            yield Measured(title, {"exact": interval(np.mean, samples.rewards), **_judges(samples)}, group="others")
        for (reward, how), by_seed in results.policies.items():
            for seed, samples in by_seed.items():
                yield beside(reward, how, seed, samples, results.reference[reward].rewards)
                if how == DDPO:
                    passes = updates(config, reward, how) * policy(config, reward).batch
                    error = max(line["ratio_error"] for line in train.inside(folder, reward, how).read_metrics(seed))
                    yield Measured(f"{reward}: first passes", {"ratio": error}, seed, passes, "ratios")
        _, agreement = digits_agree(config.digit, judges.pushed(config.digit))
        yield Measured(PUSHED, {"agreement": intervals.share(agreement)}, n=len(agreement), group="pushed")


def policies_of(reward: str, results: Found, folder: RunFolder) -> Iterator[Measured]:
    """The reference, best-of-n and every policy of a reward, with what figures draw of them."""
    reference = results.reference[reward]
    rewards, reach = reference.rewards, kl_frontier.most_choices(reference.rewards)
    unit = kl_frontier.deviation(rewards)
    choices = np.geomspace(1, reach, 40)
    bounds = [kl_frontier.kl_bound(n) for n in choices]
    of_n = np.array([bounds, [kl_frontier.expected_best(rewards, n) for n in choices]])
    arrays = {"images": reference.images, "optimum": np.array(kl_frontier.optimum(rewards)), "best of n": of_n}
    measures: dict[str, Any] = {
        "reward": interval(np.mean, rewards),
        "gain": 0.0,
        "KL": None,
        "matched": None,
    } | _judges(reference)
    yield Measured("reference", measures, group=reward, arrays=arrays)
    for count in CHOICES:
        if count <= reach:
            best = kl_frontier.expected_best(rewards, count)
            measures = {
                "reward": best,
                "gain": (best - float(rewards.mean())) / unit,
                "KL": kl_frontier.kl_bound(count),
            }
            yield Measured(f"best of {count}", measures, group=reward)
    for (name, how), by_seed in results.policies.items():
        for seed, samples in by_seed.items() if name == reward else ():
            kl = float(samples.kl.mean())
            n = kl_frontier.choices_at(kl)
            matched = (kl_frontier.expected_best(rewards, n) - float(rewards.mean())) / unit if n <= reach else None
            measures = {
                "reward": interval(np.mean, samples.rewards),
                "gain": kl_frontier.gain(samples.rewards, rewards),
                "KL": kl,
            }
            arrays = {"images": samples.images, "end": np.array((kl, samples.rewards.mean()))}
            if how == DDPO:
                arrays["log"] = smoothed(train.inside(folder, reward, how).read_metrics(seed))
            yield Measured(
                f"{how}, seed {seed}", measures | {"matched": matched} | _judges(samples), group=reward, arrays=arrays
            )


def beside(reward: str, how: str, seed: int, samples: PolicySamples, reference: np.ndarray) -> Measured:
    """A policy beside best-of-n of the reference, whose rewards are (m, p): at equal KL, and for as few draws as
    one.
    """
    measures: dict[str, Any] = {"gained": interval(kl_frontier.gain, samples.rewards, reference)}
    measures["drawn"] = interval(functools.partial(kl_frontier.above_best_of, FEW), samples.rewards, reference)
    measures["share"] = share_of_best(samples, reference, MOST[reward])
    if samples.agreement is not None:
        measures["agreement"] = intervals.share(samples.agreement.ravel())
    return Measured(f"{reward}: {how}", measures, seed, samples.rewards.size, "beside")


def share_of_best(samples: PolicySamples, reference: np.ndarray, most: float) -> Number | float:
    """`kl_frontier.share_at_matched_kl` with its interval, for which a reward is drawn with its KL; NaN where best-of-n
    gains nothing.

    Where the KL is beyond reach, the best of so many may be anything up to the largest reward: the interval then begins
    there.
    """

    def share(pairs: np.ndarray, reference: np.ndarray) -> float:
        return kl_frontier.share_at_matched_kl(pairs[..., 0], pairs[..., 1], reference)

    pairs = np.stack([samples.rewards, samples.kl], axis=-1)
    if not np.isfinite(share(pairs, reference)):
        return float("nan")
    value, low, high = interval(share, pairs, reference)
    if kl_frontier.choices_at(float(samples.kl.mean())) > kl_frontier.most_choices(reference):
        low = min(low, float((samples.rewards.mean() - reference.mean()) / (most - reference.mean())))
    return value, low, high


def smoothed(lines: list[dict[str, Any]]) -> np.ndarray:
    """(3, updates) the step, and reward and KL as means over a window."""
    step, rewards, kl = (np.array([line[key] for line in lines], np.float64) for key in ("step", "reward", "kl"))
    width = max(1, min(WINDOW, len(step) // 5))
    weights = np.ones(width) / width
    return np.stack([step[width - 1 :], np.convolve(rewards, weights, "valid"), np.convolve(kl, weights, "valid")])


def _judges(samples: PolicySamples) -> dict[str, Any]:
    judged, agreement = (None if hits is None else float(hits.mean()) for hits in (samples.judged, samples.agreement))
    return {"judged": judged, "agrees": agreement, "vendi": samples.vendi}


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
        samples = drawing.draw_all(
            draw, index, prompt, together=self._of.together, title=f"sample {title}", progress=self._progress
        )
        drawing.check_finite(samples[0], index, title)
        return samples

    def _numbers(self, count: int, others: bool) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and prompts of samples. others: prompts that no policy has learned from."""
        index = np.arange(count * self._task.prompts, dtype=np.int32)
        return index, self._task.prompt(index) + np.int32(self._task.prompts if others else 0)

    def _samples(
        self, reward: str, images: np.ndarray, scores: np.ndarray, kl: np.ndarray, others: bool
    ) -> PolicySamples:
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
            readings = judges.seen_in_scenes(judge, images, self._task.asked[prompt])
            return readings, readings == (rewards > 0.5)
        return digits_agree(self._config.digit, images) if reward == DIGIT else (None, None)

    def _distinct(self, images: np.ndarray) -> float:
        pixels = features.pixels(np.clip(images, -1.0, 1.0))
        if self._centre is None:  # the reference comes first, and all are centred by it
            self._centre = pixels.mean(0, keepdims=True)
        groups = (
            pixels[prompt :: self._task.prompts][:DISTINCT] - self._centre for prompt in range(self._task.prompts)
        )
        return float(np.mean([vendi.score(group) for group in groups]))


def digits_agree(digit: int, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) whether the judge sees the digit, and whether it and the classifier say the same of it."""
    readings = classifier_accuracy.predict(judges.judge_of_digits(), np.clip(images, -1.0, 1.0)) == digit
    by_classifier = np.asarray(judges.log_probabilities(jax.numpy.asarray(images)).argmax(1)) == digit
    return readings, readings == by_classifier
