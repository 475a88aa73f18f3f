"""What the networks' answers show, before it is held against thresholds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats

from experiments.preferences.test_time import answers, choosing, pictures, train, verifier
from experiments.preferences.test_time.answers import Budget
from experiments.preferences.test_time.choosing import COVERAGE, MAJORITY, WEIGHTED
from experiments.preferences.test_time.config import Config, counts
from experiments.preferences.test_time.pictures import Chosen, Shown
from experiments.preferences.test_time.train import Arm
from gendiff.data import sums
from gendiff.preferences import pass_at_k
from gendiff.runs import seeds_together
from gendiff.runs.progress import Progress
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder


@dataclass(frozen=True)
class Searched:
    """Of one arm whose answers are sampled; n questions.

    shares: by method (seeds, counts, n) of right answers over blocks of samples. greedy: (seeds, n) whether the likeliest answer is right.
    right: (seeds, n) how many of all samples are. lead, voted: (seeds, n) of `choosing.majority_gain`. area: (seeds,) the chance that the
    verifier scores a right answer above a wrong one.
    """

    arm: Arm
    shares: dict[str, np.ndarray]
    greedy: np.ndarray
    right: np.ndarray
    lead: np.ndarray
    voted: np.ndarray
    area: np.ndarray


@dataclass(frozen=True)
class Found:
    """Everything that is judged.

    searched: by the name of the arm. filler: (seeds, n) whether the likeliest answer is right. shorter: (halvings + 1, seeds, n) how often
    one sample is right after …, a quarter, a half, and all of the steps. budgets: (budgets, seeds, n) whether the likeliest answer is
    right after so much scratch-work. free: (seeds, n) the same where nothing is forced. chosen: of each seed, by verifier. shown: of the
    first.
    """

    searched: dict[str, Searched]
    filler: np.ndarray
    shorter: np.ndarray
    budgets: np.ndarray
    free: np.ndarray
    chosen: list[dict[str, Chosen]]
    shown: Shown


def of_all(config: Config, folder: RunFolder, progress: Progress) -> Found:
    """From the networks of a run."""
    with progress.phase("ask"):
        arms = (train.direct(config), train.scratch(config), train.large(config))
        searched = {arm.name: search(config, folder, arm, progress) for arm in arms}
        shorter = [_one_sample(config, folder, train.direct(config, halved)) for halved in range(config.halvings, 0, -1)]
        whole = searched[train.direct(config).name].shares[COVERAGE][:, 0]
        thought = [_likeliest(config, folder, train.scratch(config), Budget(tokens, tokens)) for tokens in answers.budgets(config)]
        free = _likeliest(config, folder, train.scratch(config), Budget(0, 2 * config.digits))
        filler = _likeliest(config, folder, train.filler(config))
    with progress.phase("pictures"):
        drawn = [pictures.draw(config, folder, seed, progress) for seed in config.seeds]
        chosen = [pictures.choose(config, images) for images in drawn]
    return Found(searched, filler, np.stack([*shorter, whole]), np.stack(thought), free, [each for each, _ in chosen], chosen[0][1])


def search(config: Config, folder: RunFolder, arm: Arm, progress: Progress) -> Searched:
    """Samples of an arm, scored by the verifier of the same seed, and what each method makes of them."""
    pairs = train.held_out(config)
    of_seed: list[tuple[Any, ...]] = []
    truth = pairs.sum(1)
    params = (train.restore(config, folder, arm), train.restore(config, folder, verifier.arm(config)))
    with progress.task(f"ask {arm.name}", len(config.seeds)) as task:
        for number in range(len(config.seeds)):
            model, judge = (seeds_together.of_seed(tree, number) for tree in params)
            given = answers.sampled(config, arm.kind, arm.width, model, pairs, config.samples)
            scores = verifier.scores(config, judge, pairs, given, progress)
            right = given == truth[:, None]
            greedy = answers.likeliest(config, arm.kind, arm.width, model, pairs) == truth
            votes = choosing.majority_gain(truth, given)
            of_seed.append((choosing.shares(config, truth, given, scores), greedy, right.sum(1), *votes, area(right, scores)))
            task.update(number + 1)
    methods, *rest = zip(*of_seed, strict=True)
    return Searched(arm, {name: np.stack([each[name] for each in methods]) for name in methods[0]}, *map(np.stack, rest))


def area(right: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a right answer is scored above a wrong one of any question, a tie a half; NaN where all are right or none is."""
    hits, misses = scores[right], scores[~right]
    if not hits.size or not misses.size:
        return float("nan")
    return float(scipy.stats.mannwhitneyu(hits, misses).statistic / hits.size / misses.size)


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """The exact two-sided p-value that two networks are right equally often, from the questions (n,) that one of them alone gets right."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(scipy.stats.binomtest(only_first, only_first + only_second).pvalue)


def coverage_by_formula(config: Config, of: Searched) -> np.ndarray:
    """(seeds, counts) mean of pass@k over the questions, from all samples."""
    drawn = np.array(counts(config))
    return np.stack([pass_at_k(config.samples, right[:, None], drawn[None]).mean(0) for right in of.right])


def per_doubling(config: Config, of: Searched, seed: int) -> np.ndarray:
    """(n,) gain of the weighted vote per doubling of samples, from one sample on, over the first doublings."""
    curve = of.shares[WEIGHTED][seed]
    return (curve[config.doublings] - curve[0]) / config.doublings


def matched(config: Config, verified: bool) -> int:
    """The largest count of samples with which the small network takes at most the operations of one answer of the large one.

    verified: whether the verifier's reading counts too.
    """
    new = answers.new_tokens(config, train.DIRECT)
    limit = train.asking_flops(config, config.large, new)
    fitting = [count for count in counts(config) if spent(config, train.direct(config), count, verified) <= limit]
    return max(fitting, default=1)


def spent(config: Config, arm: Arm, count: int, verified: bool = False) -> float:
    """Operations per question of so many samples, and of the verifier that reads them."""
    taken = train.asking_flops(config, arm.width, answers.new_tokens(config, arm.kind), count)
    reading = train.asking_flops(config, config.small, answers.new_tokens(config, train.DIRECT), count)
    return taken + (reading if verified else 0.0)


def by_carries(config: Config) -> dict[int, np.ndarray]:
    """Number of carries -> which questions have so many: how difficult they are."""
    carried = sums.carries(train.held_out(config), config.digits)
    return {int(count): carried == count for count in np.unique(carried)}


def crossover(config: Config, of: Searched) -> Number | None:
    """The standard deviation of noise at which best of all samples falls to the majority: mean over seeds, with the least and the largest.

    Between deviations it is a line in their logarithms. None where a seed has no crossing.
    """
    found = []
    for seed in range(len(of.greedy)):
        voted = of.shares[MAJORITY][seed, -1].mean()
        over = np.array([of.shares[choosing.noisy(noise)][seed, -1].mean() - voted for noise in config.noises])
        below = np.flatnonzero(over < 0)
        if not below.size or below[0] == 0:
            return None
        high = int(below[0])
        share = over[high - 1] / (over[high - 1] - over[high])
        ends = np.log(config.noises[high - 1 : high + 1])
        found.append(float(np.exp(ends[0] + share * (ends[1] - ends[0]))))
    return float(np.mean(found)), min(found), max(found)


def _one_sample(config: Config, folder: RunFolder, arm: Arm) -> np.ndarray:
    """(seeds, n) share of right answers among all samples."""
    return _of_seeds(config, folder, arm, lambda params, pairs: answers.sampled(config, arm.kind, arm.width, params, pairs, config.samples))


def _likeliest(config: Config, folder: RunFolder, arm: Arm, budget: Budget | None = None) -> np.ndarray:
    """(seeds, n) whether the likeliest answer is right."""
    found = _of_seeds(
        config, folder, arm, lambda params, pairs: answers.likeliest(config, arm.kind, arm.width, params, pairs, budget)[:, None]
    )
    return found > 0.5


def _of_seeds(config: Config, folder: RunFolder, arm: Arm, ask: Callable[[Any, np.ndarray], np.ndarray]) -> np.ndarray:
    """(seeds, n) share of right answers among those (n, count) that a network gives."""
    pairs = train.held_out(config)
    right = answers.of_seeds(config, folder, arm, lambda params: ask(params, pairs) == pairs.sum(1)[:, None])
    return right.mean(2)
