"""How the ddpo experiment judges: gains beside best-of-n at equal KL and at equal draws, the best policy of that KL, and other judges."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.preferences.ddpo import figures, judges, kl_frontier, measured, tables, train
from experiments.preferences.ddpo.config import DDPO, DIGIT, DPO, DRAFT, SHUFFLED, Config, policy, updates
from experiments.preferences.ddpo.measured import Found, PolicySamples
from experiments.preferences.ddpo.rewarded import MOST
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import intervals, verdicts
from gendiff.runs.reporting.verdicts import Claim, Number
from gendiff.runs.run_folder import RunFolder


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every claim, from the policies that training left."""
    found = measured.of_all(config, folder, progress)
    with progress.phase("judge"):
        errors = {arm: {seed: worst_ratio(folder, arm, seed) for seed in of} for arm, of in found.policies.items() if arm[1] == DDPO}
        made = (*claims(config, found, errors), *pushed_control(config))
        rows = tables.every(config, found)
    with progress.phase("figures"):
        shown = figures.every(config, folder, found)
    return Outcome(made, shown, rows)


def claims(config: Config, found: Found, errors: dict[tuple[str, str], dict[int, float]]) -> tuple[Claim, ...]:
    """All claims but that of pushed pictures. errors: the largest distance from 1 of a ratio on the first pass, by arm and seed."""
    made: list[Claim] = []
    for (reward, how), of_seeds in found.policies.items():
        reference = found.reference[reward]
        for seed, samples in of_seeds.items():
            claim = functools.partial(verdicts.against, config.thresholds, seed)
            if how == DDPO:
                made += _of_policy(config, claim, reward, samples, reference, errors[reward, how][seed])
            else:
                made.append(_of_other(config, claim, how, samples, reference))
    return tuple(made)


def pushed_control(config: Config) -> Iterator[Claim]:
    """Pictures that follow nothing but the reward, of which the judge must not say what the reward says."""
    _, agreement = measured.digits_agree(config.digit, judges.pushed(config.digit))
    statement = "held-out pictures of other digits, pushed up the reward's gradient: the judge agrees with the classifier"
    number, n = intervals.share(agreement), len(agreement)
    yield verdicts.against(config.thresholds, None, "pushed-agreement", statement, number, "<=", "agreement", n=n, kind="control")


def worst_ratio(folder: RunFolder, arm: tuple[str, str], seed: int) -> float:
    """The largest distance from 1 of a density ratio on the first pass, over all updates of a training."""
    return max(line["ratio_error"] for line in train.place(folder, *arm).read_metrics(seed))


def matched(config: Config, samples: PolicySamples, reference: np.ndarray, most: float) -> Number:
    """`kl_frontier.at_matched_kl` with its interval.

    Where the KL is beyond reach, the best of so many may be anything up to the largest reward: the interval then begins there.
    """
    value, low, high = intervals.interval(kl_frontier.at_matched_kl, samples.rewards, samples.kl, reference, resamples=config.resamples)
    if kl_frontier.choices_at(float(samples.kl.mean())) > kl_frontier.most_choices(reference):
        low = min(low, float((samples.rewards.mean() - most) / kl_frontier.deviation(reference)))
    return value, low, high


def _of_policy(config: Config, claim: Any, reward: str, samples: PolicySamples, reference: PolicySamples, error: float) -> Iterator[Claim]:
    rewards, of, most = samples.rewards, reference.rewards, MOST[reward]
    options: dict[str, Any] = {"n": rewards.size, "figure": f"kl_{reward}.png"}
    passes = updates(config, reward, DDPO) * policy(config, reward).batch
    ratios = f"{reward}: largest distance from 1 of a density ratio on the first pass over a rollout"
    yield claim(f"ratio-{reward}", ratios, error, "<=", "ratio", n=passes)
    beside = f"{reward}: gain less that of best-of-n at the same KL, in standard deviations of the reference's reward"
    yield claim(f"matched-{reward}", beside, matched(config, samples, of, most), ">=", "matched", **options)

    def between(statistic: Any, *rows: np.ndarray) -> Number:
        return intervals.interval(statistic, *rows, resamples=config.resamples)

    few = f"{reward}: gain of one sample less that of the best of {config.few} of the reference"
    above_few = between(functools.partial(kl_frontier.above_best_of, config.few), rewards, of)
    yield claim(f"drawn-{reward}", few, above_few, ">=", "drawn", **options)

    def excess(rewards: np.ndarray, kl: np.ndarray, reference: np.ndarray) -> float:
        best = kl_frontier.optimum_at(reference, float(kl.mean()), most)
        return float((rewards.mean() - best) / kl_frontier.deviation(reference))

    above = f"{reward}: gain less that of the best policy of the same KL"
    yield claim(f"optimum-{reward}", above, between(excess, rewards, samples.kl, of), "<=", "optimum", **options)
    if samples.agreement is not None:
        agrees, statement = intervals.share(samples.agreement.ravel()), f"{reward}: a judge without a part in the reward agrees with it"
        yield claim(f"agreement-{reward}", statement, agrees, ">=", "agreement", **options)


def _of_other(config: Config, claim: Any, how: str, samples: PolicySamples, reference: PolicySamples) -> Claim:
    number = intervals.interval(kl_frontier.gain, samples.rewards, reference.rewards, resamples=config.resamples)
    n, figure = samples.rewards.size, f"kl_{DIGIT}.png"
    if how == SHUFFLED:
        statement = "taught by the rewards of other samples: gain"
        return claim("untaught", statement, number, "<=", n=n, kind="control", figure=figure)
    named = {DRAFT: ("direct", "the reward's own gradient: gain"), DPO: ("preferred", "preferences between two samples: gain")}
    name, statement = named[how]
    return claim(name, statement, number, ">=", n=n, figure=figure)
