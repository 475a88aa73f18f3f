"""How the rlhf experiment judges: every policy against its exact optimum, the frontier, over-optimisation, and planted mistakes."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from experiments.preferences.rlhf import figures, findings, mistakes, tables, task, train
from experiments.preferences.rlhf.config import Config
from experiments.preferences.rlhf.findings import Found
from experiments.preferences.rlhf.mistakes import Checked
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import verdicts
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder

WORDS = {
    "ratio": "largest difference of log-probabilities between rollout and first pass",
    "gradient": "relative distance of the policy gradient from the exact one",
    "padding": "largest change of advantages when padding changes",
    "findings": "findings of the checker of instruction batches",
}


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every claim, from the networks that training left."""
    found, shuffled = findings.of_all(config, folder, progress)
    with progress.phase("plant mistakes"):
        checked = mistakes.every(config, train.first_policy(config, folder), found[0].told)
    with progress.phase("figures"):
        shown = figures.every(config, folder, found)
    return Outcome(claims(config, found, shuffled, checked), shown, tables.every(config, found, checked))


def claims(config: Config, found: Sequence[Found], shuffled: float, checked: tuple[Checked, ...]) -> tuple[Claim, ...]:
    """Every claim, by what was found. shuffled: accuracy of the control's reward model."""
    of_seeds = (each for seed, of in zip(config.seeds, found, strict=True) for each in _of_seed(config, seed, of))
    return (*of_seeds, _overoptimised(config, found), _shuffled(config, found[0], shuffled), *_mistakes(config, checked))


def _of_seed(config: Config, seed: int, found: Found) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, seed, n=task.PROMPTS * task.ANSWERS, figure="frontier.png")
    yield claim("reward-model", "Bayes rate of pairs less the accuracy of the reward model", found.bayes - found.accuracy, "<=", "bayes")
    at, share = f"at β = {config.beta:g}", "share of the way from the reference's objective to the best one"
    ppo = found.ppo[config.beta]
    apart = "total variation between policy and optimum"
    ways = [("ppo", "PPO", ppo)] + ([("grpo", "GRPO", found.grpo)] if found.grpo is not None else [])
    for name, title, of in ways:
        yield claim(f"{name}-objective", f"{title}, {share}, {at}", of.told_share, ">=", "objective")
        yield claim(f"{name}-optimum", f"{title}, {apart}, {at}", of.apart, "<=", "total_variation")
    yield claim("dpo-optimum", f"DPO on the reward model's preferences, {apart}, {at}", found.dpo_told.apart, "<=", "total_variation")
    gold = f"{share} of the gold reward, {at}"
    yield claim("ppo-gold", f"PPO, {gold}", ppo.gold_share, ">=", "objective", figure="gold.png")
    yield claim("dpo-gold", f"DPO on the rankings, {gold}", found.dpo.gold_share, ">=", "objective", figure="gold.png")
    worst = min(of.told_share for of in found.ppo.values())
    yield claim("frontier", f"PPO, {share}, the worst of all β", worst, ">=", "objective")
    above = max(of.above for of in (*found.ppo.values(), found.grpo or ppo, found.dpo, found.dpo_told))
    yield claim("exceeds", "reward above the exact frontier at the same KL, the largest of all policies", above, "<=")


def _overoptimised(config: Config, found: Sequence[Found]) -> Claim:
    seen = [findings.overoptimised(of.too_far).seen(config.fall) for of in found]
    statement = f"share of seeds in which the gold reward falls {config.fall:g} below its peak while the proxy rises"
    share = sum(seen) / len(seen)
    more: dict[str, Any] = {"n": len(seen), "figure": "overoptimised.png"}
    return verdicts.against(config.thresholds, None, "overoptimised", statement, share, ">=", **more)


def _shuffled(config: Config, found: Found, accuracy: float) -> Claim:
    statement = "Bayes rate less the accuracy of a reward model of shuffled rankings"
    number, pairs = found.bayes - accuracy, task.PROMPTS * task.ANSWERS
    return verdicts.against(config.thresholds, config.seeds[0], "shuffled", statement, number, ">=", "bayes", n=pairs, kind="control")


def _mistakes(config: Config, checked: tuple[Checked, ...]) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, config.seeds[0], n=1)
    for each in mistakes.right(checked):
        yield claim(each.check, WORDS[each.check], each.number, "<=")
    for number, each in enumerate(mistakes.planted(checked), 1):
        yield claim(f"mistake-{number}", f"{each.name}: {WORDS[each.check]}", each.number, ">=", each.check, kind="control")
