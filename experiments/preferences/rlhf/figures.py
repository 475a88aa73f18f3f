"""Reward against the root of KL, with the exact frontier behind it: what policies are told, what is gold, and a proxy optimised too far."""

from collections.abc import Callable, Sequence

import numpy as np

from experiments.preferences.rlhf import optimum, task
from experiments.preferences.rlhf.config import Config
from experiments.preferences.rlhf.findings import Found, Path, Stands
from experiments.preferences.rlhf.optimum import Reached
from gendiff.runs.reporting import figures
from gendiff.runs.reporting.figures import Curve, Panel
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder

BETAS = np.geomspace(0.02, 20.0, 60)
"""Where the exact curves are drawn."""
X = "√KL(policy ‖ reference), √nats"


def every(config: Config, folder: RunFolder, found: Sequence[Found]) -> tuple[Figure, ...]:
    """All figures."""
    return _told(config, folder, found), _gold(config, folder, found), _too_far(config, folder, found)


def _told(config: Config, folder: RunFolder, found: Sequence[Found]) -> Figure:
    def panel(seed: int, of: Found) -> Panel:
        behind = _curve("exact frontier", of, of.told, of.told)
        return Panel(f"seed {seed}", [behind, *_points(of, lambda stood: stood.told), _path("PPO on its way", of.path, of.path.told)])

    caption = (
        f"Reward of the reward model against √KL: the exact frontier, PPO at β = {', '.join(f'{beta:g}' for beta in config.betas)}, its "
        f"path at β = {config.beta:g}, GRPO and DPO there. No policy can lie above the frontier."
    )
    return _panels(config, folder, "frontier", found, panel, caption)


def _gold(config: Config, folder: RunFolder, found: Sequence[Found]) -> Figure:
    def panel(seed: int, of: Found) -> Panel:
        behind = [_curve("exact frontier", of, task.gold(), task.gold()), _curve("reward model's optimum", of, of.told, task.gold())]
        return Panel(f"seed {seed}", [*behind, *_points(of, lambda stood: stood.gold)])

    caption = "The same policies by the gold reward, which none of them is told, with the frontier of that reward behind."
    return _panels(config, folder, "gold", found, panel, caption)


def _too_far(config: Config, folder: RunFolder, found: Sequence[Found]) -> Figure:
    def panel(seed: int, of: Found) -> Panel:
        return Panel(
            f"seed {seed}",
            [
                _path("proxy reward", of.too_far, of.too_far.told),
                _path("gold reward", of.too_far, of.too_far.gold),
                _curve("gold reward of the proxy's exact optimum", of, of.few, task.gold()),
            ],
        )

    caption = (
        f"PPO at β = {config.small_beta:g} on a reward model of {config.comparisons} comparisons, over its training: what it is told "
        "rises with √KL, and what people like does so for a while."
    )
    return _panels(config, folder, "overoptimised", found, panel, caption)


def _panels(
    config: Config, folder: RunFolder, name: str, found: Sequence[Found], panel: Callable[[int, Found], Panel], caption: str
) -> Figure:
    panels = [panel(seed, of) for seed, of in zip(config.seeds, found, strict=True)]
    return figures.small_multiples(panels, folder.figure(name), caption, x_label=X, columns=2)


def _points(of: Found, by: Callable[[Stands], Reached]) -> list[Curve]:
    ways = {"PPO": list(of.ppo.values()), "DPO, rankings": [of.dpo], "DPO, reward model": [of.dpo_told]}
    if of.grpo is not None:
        ways["GRPO"] = [of.grpo]
    return [
        Curve(name, np.sqrt([max(by(each).kl, 0.0) for each in stood]), np.array([by(each).reward for each in stood]))
        for name, stood in ways.items()
    ]


def _curve(label: str, of: Found, told: np.ndarray, shown: np.ndarray) -> Curve:
    """The exact optima of a reward over β, by another one."""
    policies = [optimum.tilted(of.reference, told, beta) for beta in BETAS]
    ends = [optimum.reached(policy, of.reference, shown) for policy in policies]
    return Curve(label, np.sqrt([max(each.kl, 0.0) for each in ends]), np.array([each.reward for each in ends]))


def _path(label: str, path: Path, rewards: np.ndarray) -> Curve:
    return Curve(label, np.sqrt(np.maximum(path.kl, 0.0)), rewards)
