"""What the run shows: reward against KL with the best policy behind it, learning over updates, and samples."""

import numpy as np

from experiments.preferences.ddpo import kl_frontier, train
from experiments.preferences.ddpo.config import ARMS, DDPO, DIGIT, DPO, DRAFT, INK, SCENES, Config, seeds
from experiments.preferences.ddpo.measured import Found
from gendiff.runs.reporting import figures
from gendiff.runs.reporting.figures import Curve, Panel
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder

SHOWN = 12
"""Samples of each row."""
WINDOW = 5
"""Updates that a point of a curve is a mean over."""
NAMES = {
    DIGIT: "log-probability of the digit",
    INK: "share of ink",
    SCENES: "share of scenes exactly as asked for",
}


def every(config: Config, folder: RunFolder, found: Found) -> tuple[Figure, ...]:
    """All figures."""
    return (
        *(_frontier(config, folder, found, reward) for reward in NAMES),
        _learning(config, folder),
        _digits(config, folder, found),
        _scenes(config, folder, found),
    )


def _frontier(config: Config, folder: RunFolder, found: Found, reward: str) -> Figure:
    rewards = found.reference[reward].rewards
    kl, best = kl_frontier.optimum(rewards)
    choices = np.geomspace(1, kl_frontier.most_choices(rewards), 40)
    curves = [
        Curve("best policy of a KL", np.sqrt(np.maximum(kl, 0)), best),
        Curve(
            "best of n, 1 …",
            np.sqrt([kl_frontier.kl_bound(n) for n in choices]),
            np.array([kl_frontier.expected_best(rewards, n) for n in choices]),
        ),
    ]
    for (name, how), of_seeds in found.policies.items():
        if name != reward:
            continue
        if how == DDPO:
            for seed in of_seeds:
                _, values, kls = _log(folder, reward, how, seed)
                curves.append(Curve(f"ddpo while it learns, seed {seed}", np.sqrt(np.maximum(kls, 0)), values))
        elif how in (DRAFT, DPO):
            ends = [(float(np.sqrt(of.kl.mean())), float(of.rewards.mean())) for of in of_seeds.values()]
            curves.append(Curve(f"{how}, at the end", *np.array(sorted(ends)).T))
    caption = (
        f"{NAMES[reward].capitalize()} against the root of the KL to the reference, in nats. No policy can be above the best one. KL of "
        "policies is that of whole trajectories; of best-of-n it is its bound."
    )
    return figures.curves(curves, folder.figure(f"kl_{reward}"), caption, x_label="√KL", y_label=NAMES[reward])


def _learning(config: Config, folder: RunFolder) -> Figure:
    panels = []
    for place, title in enumerate(("reward", "KL")):
        for reward in NAMES:
            series = []
            for _, how in (arm for arm in ARMS if arm == (reward, DDPO)):
                for seed in seeds(config, reward, how):
                    step, *values = _log(folder, reward, how, seed)
                    series.append(Curve(f"seed {seed}", step, values[place]))
            panels.append(Panel(f"{reward}: {title}", series))
    return figures.small_multiples(
        panels, folder.figure("learning"), "Policy gradient: reward and KL over updates.", x_label="update", columns=3
    )


def _digits(config: Config, folder: RunFolder, found: Found) -> Figure:
    rows = {"the reference": found.reference[DIGIT].images}
    rows |= {f"{how} for the digit": found.policies[DIGIT, how][config.seeds[0]].images for how in (DDPO, DRAFT, DPO)}
    rows["ddpo for ink"] = found.policies[INK, DDPO][config.seeds[0]].images
    return _sheet(folder, "samples_digits", rows, "By row: the reference; ddpo, DRaFT and DPO for the digit; ddpo for ink.")


def _scenes(config: Config, folder: RunFolder, found: Found) -> Figure:
    rows = {"the reference": found.reference[SCENES].images, "the policy": found.policies[SCENES, DDPO][config.scenes_seeds[0]].images}
    return _sheet(folder, "samples_scenes", rows, "Two red circles, above by the reference, below by the policy, from the same noise.")


def _sheet(folder: RunFolder, name: str, rows: dict[str, np.ndarray], caption: str) -> Figure:
    across = min(SHOWN, *map(len, rows.values()))
    sheet = np.concatenate([images[:across] for images in rows.values()])
    return figures.grid(sheet, across, folder.figure(name), caption, rows=list(rows))


def _log(folder: RunFolder, reward: str, how: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(updates, reward, KL), means over a window."""
    lines = train.place(folder, reward, how).read_metrics(seed)
    step, rewards, kl = (np.array([line[key] for line in lines], np.float64) for key in ("step", "reward", "kl"))
    width = max(1, min(WINDOW, len(step) // 5))
    weights = np.ones(width) / width
    return step[width - 1 :], np.convolve(rewards, weights, "valid"), np.convolve(kl, weights, "valid")
