"""What is measured of the networks' answers: thinking, votes and verifiers, samples beside size and training, and
chosen pictures.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import scipy

from experiments.preferences.test_time import answers, choosing, pictures, train, verifier
from experiments.preferences.test_time.answers import Budget
from experiments.preferences.test_time.choosing import (
    BOTH,
    COVERAGE,
    LABELS,
    LEARNED,
    LIKELY,
    MAJORITY,
    PAIRED,
    PAIRED_BOTH,
    READ,
    UNPAIRED,
    WEIGHTED,
)
from experiments.preferences.test_time.config import Config, counts
from experiments.preferences.test_time.pictures import JUDGE, UNCHOSEN, VERIFIERS, Chosen
from experiments.preferences.test_time.train import Arm
from experiments.tasks import addition
from gendiff.preferences import pass_at_k
from gendiff.runs import vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured

SMALL, LARGE, SCRATCH, FILLER = "small, direct", "large, direct", "small, scratch-work", "small, filler tokens"
BUDGETS, DOUBLINGS = "budgets of scratch-work", "doublings of samples by weighted vote"
FIRST, NOT_FIRST = "majority, right answer clearly first", "majority, another answer clearly first"
LEAST, MOST = "best of n, least noise", "best of n, most noise"


@dataclass(frozen=True)
class Searched:
    """Of one arm whose answers are sampled; n questions.

    shares: by method (seeds, counts, n) of right answers over blocks of samples. greedy: (seeds, n) whether the
        likeliest answer is right.
    right: (seeds, n) how many of all samples are. lead, voted: (seeds, n) of `choosing.majority_gain`. pairs, area: by
        method (seeds,) the share of pairs in which a right answer is scored above a wrong one, within a question and
        over all.
    """

    arm: Arm
    shares: dict[str, np.ndarray]
    greedy: np.ndarray
    right: np.ndarray
    lead: np.ndarray
    voted: np.ndarray
    pairs: dict[str, np.ndarray]
    area: dict[str, np.ndarray]


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Everything, from the networks of a run."""
    direct, scratch = train.direct(config), train.scratch(config)
    with progress.phase("ask"):
        searched = {arm.name: search(config, folder, arm, progress) for arm in (direct, scratch, train.large(config))}
        shorter = [
            _one_sample(config, folder, train.direct(config, halved)) for halved in range(config.halvings, 0, -1)
        ]
        shorter.append(searched[direct.name].shares[COVERAGE][:, 0])
        budgets = np.stack(
            [_likeliest(config, folder, scratch, Budget(tokens, tokens)) for tokens in answers.budgets(config)]
        )
        free = _likeliest(config, folder, scratch, Budget(0, 2 * config.digits))
        filler = _likeliest(config, folder, train.filler(config))
    with progress.phase("pictures"):
        chosen, best = zip(
            *(pictures.choose(config, pictures.draw(config, folder, seed, progress)) for seed in config.seeds),
            strict=True,
        )
    with progress.phase("bootstrap"):
        greedy = {name: each.greedy for name, each in searched.items()} | {FILLER: filler}
        yield from thinking(config, greedy, budgets, free)
        yield from searching(config, searched)
        yield from scaling(config, searched, np.stack(shorter))
        yield from steering(config, chosen, pictures.accuracies(config), best[0].pictures)


def search(config: Config, folder: RunFolder, arm: Arm, progress: Progress) -> Searched:
    """Samples of an arm, scored by the verifiers of the same seed, and what each method makes of them."""
    pairs = train.held_out(config)
    truth, by_seed = pairs.sum(1), list[tuple[Any, ...]]()
    judges = (*(verifier.arm(config, method) for method in verifier.PARTS), verifier.labels_arm(config))
    params = [train.restore(config, folder, each) for each in (arm, *judges)]
    with progress.task(f"ask {arm.name}", len(config.seeds)) as task:
        for number in range(len(config.seeds)):
            models = [vmapped_seeds.of_seed(tree, number) for tree in params]
            samples = answers.sampled(config, arm.kind, arm.width, models[0], pairs, config.samples)
            scores = scored(config, arm, models, pairs, samples, progress)
            greedy = answers.likeliest(config, arm.kind, arm.width, models[0], pairs) == truth
            by_seed.append(searched(config, truth, samples, scores, greedy))
            task.update(number + 1)
    return stacked(arm, by_seed)


def scored(
    config: Config,
    arm: Arm,
    models: list[Any],
    pairs: np.ndarray,
    samples: np.ndarray,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """By method the scores (n, count) of samples, of one seed. The log-probability of an answer behind scratch-work is
    that of the text, not of the number: such an arm has none.

    models: parameters of the arm, of the verifiers of `verifier.PARTS`, and of the one of labels.
    """
    network, answer = train.network(config, config.small), answers.new_tokens(config, train.DIRECT)
    log_prob = verifier.log_prob_of(network, answer)
    score = functools.partial(verifier.scores, config, pairs=pairs, replies=samples, progress=progress)
    values = {name: score(log_prob, params) for name, params in zip(verifier.PARTS, models[1:-1], strict=True)}
    values[LABELS] = score(verifier.label_odds_of(network), models[-1])
    if arm.kind == train.DIRECT:
        values[LIKELY] = score(verifier.log_prob_of(train.network(config, arm.width), answer), models[0])
        values |= {BOTH: values[LEARNED] + values[LIKELY], PAIRED_BOTH: values[PAIRED] + values[LIKELY]}
    return values


def searched(
    config: Config, truth: np.ndarray, samples: np.ndarray, scores: dict[str, np.ndarray], greedy: np.ndarray
) -> tuple[Any, ...]:
    """Of one seed what `Searched` has of all."""
    right = samples == truth[:, None]
    shares, votes = choosing.shares(config, truth, samples, scores), choosing.majority_gain(truth, samples)
    within = {name: choosing.pair_accuracy(right, values) for name, values in scores.items()}
    over = {name: area(right, values) for name, values in scores.items()}
    return shares, greedy, right.sum(1), *votes, within, over


def stacked(arm: Arm, by_seed: list[tuple[Any, ...]]) -> Searched:
    """The seeds of an arm as one."""
    return Searched(arm, *jax.tree.map(lambda *leaves: np.stack(leaves), *by_seed))


def thinking(
    config: Config, greedy: dict[str, np.ndarray], budgets: np.ndarray, free: np.ndarray
) -> Iterator[Measured]:
    """What scratch-work brings.

    greedy: (seeds, n) by network whether the likeliest answer is right. budgets: (budgets, seeds, n) the same after so
        much scratch-work.
    free: (seeds, n) where nothing is forced.
    """
    for number, seed in enumerate(config.seeds):
        direct, scratch = (greedy[name][number] for name in (SMALL, SCRATCH))
        for name, right in greedy.items():
            measures: dict[str, Any] = {"likeliest": intervals.share(right[number])}
            if name == SCRATCH:
                measures |= {"over direct": _difference(scratch, direct), "p": mcnemar(scratch, direct)}
            yield Measured(name, measures, seed, config.questions, "likeliest")
        forced = budgets[:, number]
        worst = int(np.argmax(-np.diff(forced[: config.digits + 1].mean(1))))
        measures = {
            "thinking": _difference(forced[config.digits], forced[0]),
            "fall": _difference(forced[worst], forced[worst + 1]),
        }
        yield Measured(BUDGETS, measures, seed, config.questions, "forced")
    for name, each in zip((*map(str, answers.budgets(config)), "as it likes"), (*budgets, free), strict=True):
        yield Measured(
            name,
            {f"seed {seed}": float(share) for seed, share in zip(config.seeds, each.mean(1), strict=True)},
            group="budgets",
        )


def searching(config: Config, searched: dict[str, Searched]) -> Iterator[Measured]:
    """What votes and verifiers make of samples."""
    for name, each in searched.items():
        for method, shares in each.shares.items():
            operations = _operations(config, each.arm, method)
            means = zip(counts(config), shares.mean(axis=(0, 2)), strict=True)
            measures = {"method": method, "operations": operations[-1]} | {
                f"n = {count}": float(share) for count, share in means
            }
            arrays = {"operations": operations, "shares": shares.mean(2)}
            yield Measured(name, measures, n=config.questions, group="methods", arrays=arrays)
    small = searched[SMALL]
    formula = np.abs(coverage_by_formula(config, small).mean(0) - small.shares[COVERAGE].mean(axis=(0, 2))).max()
    yield Measured(COVERAGE, {"formula": float(formula)}, n=config.questions, group="formula")
    for number, seed in enumerate(config.seeds):
        for name, each in searched.items():
            for method in each.pairs:
                of_pairs = {"pairs": float(each.pairs[method][number]), "area": float(each.area[method][number])}
                yield Measured(f"{name}: {method}", of_pairs, seed, config.questions, "areas")
        for name, rows in ((FIRST, small.lead[number] >= 1), (NOT_FIRST, small.lead[number] <= -1)):
            gains = small.voted[number][rows]
            yield Measured(name, {"voted": _mean(gains)}, seed, max(1, len(gains)), "votes")
        last = {name: shares[number, -1] for name, shares in small.shares.items()}
        for name, noise in ((LEAST, config.noises[0]), (MOST, config.noises[-1])):
            gain = _difference(last[choosing.noisy(noise)], last[MAJORITY])
            yield Measured(name, {"over vote": gain}, seed, config.questions, "verifiers")
        for name in (LEARNED, PAIRED, UNPAIRED, BOTH, PAIRED_BOTH, LIKELY, LABELS):
            curve = small.shares[name][number]
            worst = int(np.argmax(-np.diff(curve.mean(1))))
            measures = {
                "over one": _difference(curve[-1], curve[0]),
                "drop": _difference(curve[worst], curve[worst + 1]),
                "over vote": _difference(curve[-1], last[MAJORITY]),
            }
            yield Measured(name, measures, seed, config.questions, "verifiers")
        yield Measured(MAJORITY, {"crossover": crossover(config, small, number)}, seed, config.questions, "verifiers")


def scaling(config: Config, searched: dict[str, Searched], shorter: np.ndarray) -> Iterator[Measured]:
    """Samples beside a larger network and beside longer training.

    shorter: (halvings + 1, seeds, n) how often one sample is right after …, a quarter, a half, and all of the steps.
    """
    small, large = searched[SMALL], searched[LARGE]
    new = answers.new_tokens(config, train.DIRECT)
    plain, verified = (matched(config, reads) for reads in (False, True))
    costs = [train.training_flops(config, each.arm) for each in (large, small)]
    measures = {"answer": train.asking_flops(config, config.large, new), "plain": plain, "verified": verified}
    yield Measured(LARGE, measures | {"training": costs[0] / costs[1]}, group="costs")
    columns = {name: counts(config).index(count) for name, count in (("plain", plain), ("verified", verified))}
    for name, rows in {
        "all": np.ones(config.questions, bool),
        **{str(count): rows for count, rows in by_carries(config).items()},
    }.items():
        measures = {
            "sums": int(rows.sum()),
            **{f"{each.arm.name}, likeliest": float(each.greedy[:, rows].mean()) for each in (small, large)},
        }
        for method, column in ((MAJORITY, "plain"), (COVERAGE, "plain"), (LEARNED, "verified"), (WEIGHTED, "verified")):
            measures[method] = float(small.shares[method][:, columns[column]][:, rows].mean())
        lines = [(small, method) for method in (COVERAGE, MAJORITY, LEARNED, WEIGHTED)] + [(large, MAJORITY)]
        arrays = {
            f"{each.arm.name.split(',')[0]}, {method}": (
                _operations(config, each.arm, method),
                each.shares[method][:, :, rows].mean(2),
            )
            for each, method in lines
        }
        yield Measured(name, measures, n=config.questions, group="carries", arrays=arrays)
    for halved, values in zip(range(config.halvings, -1, -1), shorter.mean(2), strict=True):
        arm = train.direct(config, halved)
        measures = {"operations of training": train.training_flops(config, arm), "right": float(values.mean())}
        measures |= {"least seed": float(values.min()), "largest seed": float(values.max())}
        yield Measured(f"{train.steps(config, arm)} steps", measures, group="doublings", arrays={"right": values})
    for number, seed in enumerate(config.seeds):
        curve = small.shares[WEIGHTED][number]
        gain = (curve[config.doublings] - curve[0]) / config.doublings
        over = _difference(gain, shorter[-1, number] - shorter[-2, number])
        yield Measured(
            DOUBLINGS,
            {"per doubling": float(gain.mean()), "over training": over},
            seed,
            config.questions,
            "per doubling",
        )


def steering(
    config: Config, chosen: tuple[dict[str, Chosen], ...], accuracies: dict[str, float], best: dict[str, np.ndarray]
) -> Iterator[Measured]:
    """Pictures chosen by each verifier.

    chosen: of each seed, by verifier. accuracies: on real digits that none has seen. best: pictures of the first seed.
    """
    columns = {count: number for number, count in enumerate(counts(config)) if count in (1, 8, config.samples)}
    for name in (*VERIFIERS, JUDGE):
        claimed, judged = (
            np.stack([getattr(each[name], part).mean(1) for each in chosen]) for part in ("claimed", "judged")
        )
        measures = {"accuracy": accuracies[name]}
        for count, column in columns.items():
            measures |= {
                f"n = {count}: own": float(claimed[:, column].mean()),
                f"n = {count}: judge": float(judged[:, column].mean()),
            }
        images = {"best": best[name]} if name in best else {}
        yield Measured(name, measures, group="pictures", arrays={"claimed": claimed, "judged": judged} | images)
    for seed, by_verifier in zip(config.seeds, chosen, strict=True):
        for name in VERIFIERS:
            each = by_verifier[name]
            shares: dict[str, Any] = {"claimed": _mean(each.claimed[-1]), "judged": _mean(each.judged[-1])}
            shares["over one"] = _difference(each.judged[-1], each.judged[0])
            shares["gamed"] = _difference(each.claimed[-1], each.judged[-1])
            yield Measured(name, shares, seed, each.judged.shape[1], "choices")
    yield Measured(UNCHOSEN, {}, group="pictures", arrays={"best": best[UNCHOSEN]})


def area(right: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a right answer is scored above a wrong one of any question, a tie a half; NaN where all are right
    or none is.
    """
    hits, misses = scores[right], scores[~right]
    if not hits.size or not misses.size:
        return float("nan")
    return float(scipy.stats.mannwhitneyu(hits, misses).statistic / hits.size / misses.size)


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """The exact two-sided p-value that two networks are right equally often, from the questions (n,) that one of them
    alone gets right.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(scipy.stats.binomtest(only_first, only_first + only_second).pvalue)


def coverage_by_formula(config: Config, searched: Searched) -> np.ndarray:
    """(seeds, counts) mean of pass@k over the questions, from all samples."""
    k = np.array(counts(config))
    return np.stack([pass_at_k(config.samples, right[:, None], k[None]).mean(0) for right in searched.right])


def matched(config: Config, verified: bool) -> int:
    """The largest count of samples with which the small network takes at most the operations of one answer of the large
    one.

    verified: whether the verifier's reading counts too.
    """
    limit = spent(config, train.large(config), 1)
    fitting = [count for count in counts(config) if spent(config, train.direct(config), count, verified) <= limit]
    return max(fitting, default=1)


def spent(config: Config, arm: Arm, count: int, verified: bool = False) -> float:
    """Operations per question of so many samples, and of the verifier that reads them."""
    writing = train.asking_flops(config, arm.width, answers.new_tokens(config, arm.kind), count)
    reading = train.asking_flops(config, config.small, answers.new_tokens(config, train.DIRECT), count)
    return writing + (reading if verified else 0.0)


def by_carries(config: Config) -> dict[int, np.ndarray]:
    """Number of carries -> which questions have so many: how difficult they are."""
    carried = addition.carries(train.held_out(config), config.digits)
    return {int(count): carried == count for count in np.unique(carried)}


def crossover(config: Config, searched: Searched, number: int) -> float:
    """The standard deviation of noise at which best of all samples falls to the majority, in one seed; NaN where it
    does not.

    Between deviations it is a line in their logarithms.
    """
    last = {name: shares[number, -1].mean() for name, shares in searched.shares.items()}
    over = np.array([last[choosing.noisy(noise)] for noise in config.noises]) - last[MAJORITY]
    high = int(np.argmax(over < 0))  # 0 where none is below
    if high == 0:
        return float("nan")
    ends = np.log(config.noises[high - 1 : high + 1])
    return float(np.exp(ends[0] + over[high - 1] / (over[high - 1] - over[high]) * (ends[1] - ends[0])))


def _operations(config: Config, arm: Arm, method: str) -> np.ndarray:
    return np.array([spent(config, arm, count, method in READ) for count in counts(config)])


def _one_sample(config: Config, folder: RunFolder, arm: Arm) -> np.ndarray:
    """(seeds, n) share of right answers among all samples."""
    return _right(
        config,
        folder,
        arm,
        lambda params, pairs: answers.sampled(config, arm.kind, arm.width, params, pairs, config.samples),
    )


def _likeliest(config: Config, folder: RunFolder, arm: Arm, budget: Budget | None = None) -> np.ndarray:
    """(seeds, n) whether the likeliest answer is right."""

    def ask(params: Any, pairs: np.ndarray) -> np.ndarray:
        return answers.likeliest(config, arm.kind, arm.width, params, pairs, budget)[:, None]

    return _right(config, folder, arm, ask) > 0.5


def _right(config: Config, folder: RunFolder, arm: Arm, ask: Callable[[Any, np.ndarray], np.ndarray]) -> np.ndarray:
    """(seeds, n) share of right answers among those (n, count) that a network gives."""
    pairs = train.held_out(config)
    return answers.of_seeds(config, folder, arm, lambda params: ask(params, pairs) == pairs.sum(1)[:, None]).mean(2)


def _difference(first: np.ndarray, second: np.ndarray) -> Number | float:
    """Of means over the same questions (n,), with its interval."""
    return _mean(first.astype(np.float64) - second)


def _mean(values: np.ndarray) -> Number | float:
    return intervals.interval(np.mean, values) if len(values) > 1 else float("nan")
