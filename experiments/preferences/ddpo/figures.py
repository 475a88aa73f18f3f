"""What the run shows: reward against KL with the best policy behind it, learning over updates, and samples."""

from collections.abc import Callable

import numpy as np

from experiments.preferences.ddpo.config import DDPO, DIGIT, DPO, DRAFT, INK, SCENES
from gendiff.runs.reporting import figures
from gendiff.runs.reporting.figures import Curve, Panel
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements

SHOWN = 12
"""Samples of each row."""
NAMES = {
    DIGIT: "log-probability of the digit",
    INK: "share of ink",
    SCENES: "share of scenes exactly as asked for",
}


def frontier(reward: str) -> Callable[[Measurements, RunFolder], Figure]:
    """Reward against KL."""

    def draw(measured: Measurements, folder: RunFolder) -> Figure:
        policies = _policies(measured, reward)
        behind = policies["reference"].arrays
        lines = [("best policy of a KL", *behind["optimum"]), ("best of n, 1 …", *behind["best of n"])]
        for name, each in policies.items():
            if "log" in each.arrays:
                _, rewards, kl = each.arrays["log"]
                lines.append((name.replace("ddpo,", "ddpo while it learns,"), kl, rewards))
        for how in (DRAFT, DPO):
            ends = sorted(tuple(each.arrays["end"]) for name, each in policies.items() if name.startswith(f"{how},"))
            lines += [(f"{how}, at the end", *np.array(ends).T)] if ends else []
        caption = (
            f"{NAMES[reward].capitalize()} against the root of the KL to the reference, in nats. No policy can be "
            "above the best one. KL of policies is that of whole trajectories; of best-of-n it is its bound."
        )
        curves = [Curve(name, np.sqrt(np.maximum(kl, 0)), rewards) for name, kl, rewards in lines]
        return figures.curves(curves, folder.figure(f"kl_{reward}"), caption, x_label="√KL", y_label=NAMES[reward])

    return draw


def learning(measured: Measurements, folder: RunFolder) -> Figure:
    """Reward and KL over updates."""
    panels = []
    for part, title in ((1, "reward"), (2, "KL")):
        for reward in NAMES:
            logs = {
                name: each.arrays["log"] for name, each in _policies(measured, reward).items() if "log" in each.arrays
            }
            panels.append(
                Panel(
                    f"{reward}: {title}", [Curve(name.split(", ")[1], log[0], log[part]) for name, log in logs.items()]
                )
            )
    caption = "Policy gradient: reward and KL over updates."
    return figures.small_multiples(panels, folder.figure("learning"), caption, x_label="update", columns=3)


def digits(measured: Measurements, folder: RunFolder) -> Figure:
    """Samples of digits from the same noise."""
    ways = [(f"{how} for the digit", DIGIT, how) for how in (DDPO, DRAFT, DPO)] + [("ddpo for ink", INK, DDPO)]
    caption = "By row: the reference; ddpo, DRaFT and DPO for the digit; ddpo for ink."
    return _sheet(measured, folder, "samples_digits", [("the reference", DIGIT, "reference"), *ways], caption)


def scenes(measured: Measurements, folder: RunFolder) -> Figure:
    """Samples of scenes from the same noise."""
    caption = "Two red circles, above by the reference, below by the policy, from the same noise."
    rows = [("the reference", SCENES, "reference"), ("the policy", SCENES, DDPO)]
    return _sheet(measured, folder, "samples_scenes", rows, caption)


def _sheet(
    measured: Measurements, folder: RunFolder, file: str, rows: list[tuple[str, str, str]], caption: str
) -> Figure:
    """rows: (title, reward, how); the first seed of each."""
    policies = [
        next(each for name, each in _policies(measured, reward).items() if name.split(",")[0] == how)
        for _, reward, how in rows
    ]
    images = [each.arrays["images"] for each in policies]
    across = min(SHOWN, *map(len, images))
    sheet = np.concatenate([each[:across] for each in images])
    return figures.grid(sheet, across, folder.figure(file), caption, rows=[title for title, _, _ in rows])


def _policies(measured: Measurements, reward: str) -> dict[str, Measured]:
    return {each.name: each for each in measured if each.group == reward}
