"""The numbers of the run: where each method ends, what a reward model of few comparisons costs, and the planted mistakes."""

from collections.abc import Callable, Sequence

import numpy as np

from experiments.preferences.rlhf import findings, mistakes, optimum, task
from experiments.preferences.rlhf.config import Config
from experiments.preferences.rlhf.findings import Found, Stands
from experiments.preferences.rlhf.mistakes import Checked
from gendiff.runs.reporting.formatting import Cell
from gendiff.runs.reporting.results import Table

Of = Callable[[Found], Stands]


def every(config: Config, found: Sequence[Found], checked: tuple[Checked, ...]) -> tuple[Table, ...]:
    """All tables."""
    return _methods(config, found), _models(config, found), _too_far(config, found), _mistakes(config, checked)


def _methods(config: Config, found: Sequence[Found]) -> Table:
    ways: list[tuple[str, Of]] = [("PPO", lambda of, beta=beta: of.ppo[beta]) for beta in config.betas]  # type: ignore[misc]
    ways += [("GRPO", lambda of: of.grpo)] if config.grpo else []  # type: ignore[list-item,return-value]
    ways += [("DPO, rankings", lambda of: of.dpo), ("DPO, reward model", lambda of: of.dpo_told)]
    rows: list[tuple[Cell, ...]] = []
    for name, of in ways:
        stands = [of(each) for each in found]
        best = [
            optimum.reached(optimum.tilted(each.reference, each.told, stood.beta), each.reference, each.told)
            for each, stood in zip(found, stands, strict=True)
        ]
        numbers = (
            [each.told.reward for each in stands],
            [each.reward for each in best],
            [each.told.kl for each in stands],
            [each.kl for each in best],
            [each.told_share for each in stands],
            [each.gold_share for each in stands],
            [each.apart for each in stands],
        )
        rows.append((name, stands[0].beta, *(float(np.mean(each)) for each in numbers)))
    ends = "share", "share, gold", "total variation"
    columns = ("method", "β", "reward", "best policy's reward", "KL", "best policy's KL", *ends)
    note = (
        "Reward: of the reward model, of mean 0 and standard deviation 1 over the reference's answers. Share: of the way from the "
        "reference's objective to the best one, by the reward model and by the gold reward. Total variation: to the reward model's "
        "optimum; DPO on rankings does not know that model. All numbers are exact sums over 4 × 512 answers."
    )
    return Table(f"Policies after training, means over {len(found)} seeds.", columns, tuple(rows), note, main=True)


def _models(config: Config, found: Sequence[Found]) -> Table:
    rows = tuple(
        (seed, of.bayes, of.accuracy, of.few_accuracy, _correlation(of, of.told), _correlation(of, of.few))
        for seed, of in zip(config.seeds, found, strict=True)
    )
    few = f"{config.comparisons} comparisons"
    columns = ("seed", "Bayes rate", f"{config.rankings} rankings", few, "correlation with gold, rankings", f"correlation with gold, {few}")
    return Table("Accuracy of reward models on pairs of the reference's answers.", columns, rows)


def _too_far(config: Config, found: Sequence[Found]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for seed, of in zip(config.seeds, found, strict=True):
        path, seen = of.too_far, findings.overoptimised(of.too_far)
        peak = int(np.argmax(path.gold))
        numbers = path.kl[peak], path.gold[peak], path.gold[-1], path.told[-1], path.kl[-1], seen.fall, seen.rise
        rows.append((seed, peak, *map(float, numbers)))
    at_end = "gold at the end", "proxy at the end", "KL at the end"
    columns = ("seed", "update of the peak", "KL there", "gold there", *at_end, "fall", "rise")
    title = f"PPO at β = {config.small_beta:g} on a reward model of {config.comparisons} comparisons."
    return Table(title, columns, tuple(rows), "Fall: of gold from its peak to the end. Rise: of the proxy since that peak.", main=True)


def _mistakes(config: Config, checked: tuple[Checked, ...]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for each in checked:
        limit = getattr(config.thresholds, each.check)
        rows.append((each.check, each.name, each.number, limit, "passes" if each.number <= limit else "caught"))
    note = f"Right code passes each check ({mistakes.RIGHT}); each mistake, planted alone, must not."
    columns = ("check", "code", "number", "limit", "verdict")
    return Table("Planted mistakes and the checks that catch them.", columns, tuple(rows), note, main=True)


def _correlation(of: Found, scores: np.ndarray) -> float:
    """Over the reference's answers."""
    law = np.exp(of.reference) / task.PROMPTS
    one, other = (table - (law * table).sum() for table in (scores, task.gold()))
    return float((law * one * other).sum() / np.sqrt((law * one**2).sum() * (law * other**2).sum()))
