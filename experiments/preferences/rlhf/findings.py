"""Where every policy stands beside the exact optimum of its seed, by the reward that it was told and by the gold reward."""

from dataclasses import dataclass

import numpy as np

from experiments.preferences.rlhf import optimum, task, train
from experiments.preferences.rlhf.config import Config
from experiments.preferences.rlhf.optimum import Reached
from experiments.preferences.rlhf.train import DPO, FEW, GRPO, PPO, RANKED
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder


@dataclass(frozen=True)
class Stands:
    """Of one policy at one β. told: by the rewards that it was told, or that its rankings came from. gold: by the gold reward.

    told_share, gold_share: (J − J_ref) / (J* − J_ref) by each. apart: total variation to the optimum of the reward that it was told.
    above: how far its reward is above the exact frontier at its KL, by the worse of both rewards; negative below it.
    """

    beta: float
    told: Reached
    gold: Reached
    told_share: float
    gold_share: float
    apart: float
    above: float


@dataclass(frozen=True)
class Path:
    """Exact numbers along a training, (updates + 1,) each."""

    gold: np.ndarray
    told: np.ndarray
    kl: np.ndarray


@dataclass(frozen=True)
class Found:
    """Of one seed.

    reference: (4, 512) log-probabilities. told, few: (4, 512) rewards of the reward models of rankings and of few comparisons.
    accuracy: of the first one on pairs. bayes: the best accuracy there is.
    ppo: by β. grpo: at the β of comparison. dpo: from the rankings. dpo_told: from preferences of the reward model, without end.
    path: of PPO at the β of comparison. too_far: of PPO on the reward model of few comparisons.
    """

    reference: np.ndarray
    told: np.ndarray
    few: np.ndarray
    accuracy: float
    few_accuracy: float
    bayes: float
    ppo: dict[float, Stands]
    grpo: Stands | None
    dpo: Stands
    dpo_told: Stands
    path: Path
    too_far: Path


@dataclass(frozen=True)
class Overoptimised:
    """Whether gold reward fell below its peak while the proxy rose. fall: from the peak to the end. rise: of the proxy since then."""

    fall: float
    rise: float

    def seen(self, least: float) -> bool:
        """Both, the fall by at least so much."""
        return self.fall >= least and self.rise > 0


def of_all(config: Config, folder: RunFolder, progress: Progress) -> tuple[tuple[Found, ...], float]:
    """Of every seed, and the accuracy of the control, whose rankings were shuffled."""
    with progress.phase("judge"):
        laws = train.reference_laws(config, folder)
        told, few = (train.rewards(config, folder, kind, laws).tables for kind in (RANKED, FEW))
        policies = {kind: train.policy_laws(config, folder, kind) for kind in (*train.policy_stages(config), DPO)}
        written = train.curves(config, folder, PPO)
        found = [_of_seed(config, number, law, (told[number], few[number]), policies, written) for number, law in enumerate(laws)]
        return tuple(found), task.accuracy(laws[0], told[len(laws)])


def stands(policy: np.ndarray, reference: np.ndarray, told: np.ndarray, beta: float) -> Stands:
    """Where a policy stands, from laws and rewards (4, 512)."""
    by_told, by_gold = (optimum.reached(policy, reference, rewards) for rewards in (told, task.gold()))
    above = [at.reward - optimum.frontier(reference, rewards, at.kl) for at, rewards in ((by_told, told), (by_gold, task.gold()))]
    of_told, of_gold = (optimum.share(policy, reference, rewards, beta) for rewards in (told, task.gold()))
    apart = optimum.total_variation(policy, optimum.tilted(reference, told, beta))
    return Stands(beta, by_told, by_gold, of_told, of_gold, apart, max(above))


def overoptimised(path: Path) -> Overoptimised:
    """By exact numbers along a training."""
    peak = int(np.argmax(path.gold))
    return Overoptimised(float(path.gold[peak] - path.gold[-1]), float(path.told[-1] - path.told[peak]))


def _of_seed(
    config: Config,
    number: int,
    law: np.ndarray,
    tables: tuple[np.ndarray, np.ndarray],
    policies: dict[str, np.ndarray],
    written: np.ndarray,
) -> Found:
    told, few = tables
    count = len(config.seeds)
    rows = {(each.number, each.beta, each.few): at for at, each in enumerate(train.members(config, PPO))}
    ppo = {beta: stands(policies[PPO][rows[number, beta, False]], law, told, beta) for beta in config.betas}
    first, last = rows[number, config.beta, False], rows[number, config.small_beta, True]
    return Found(
        law,
        told,
        few,
        task.accuracy(law, told),
        task.accuracy(law, few),
        task.bayes_rate(law),
        ppo,
        stands(policies[GRPO][number], law, told, config.beta) if config.grpo else None,
        stands(policies[DPO][number], law, told, config.beta),
        stands(policies[DPO][count + number], law, told, config.beta),
        _path(written[first], policies[PPO][first], law, told),
        _path(written[last], policies[PPO][last], law, few),
    )


def _path(written: np.ndarray, policy: np.ndarray, reference: np.ndarray, told: np.ndarray) -> Path:
    """What was written down before each update, and where the policy stands at the end."""
    ends = [optimum.reached(policy, reference, rewards) for rewards in (task.gold(), told)]
    last = np.array([[ends[0].reward, ends[1].reward, ends[0].kl]])
    return Path(*np.concatenate([written, last]).T)
