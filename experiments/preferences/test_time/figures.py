"""What the run shows: right answers against operations, noise and budgets, by difficulty, and pictures that were
chosen.
"""

import numpy as np

from experiments.preferences.test_time.choosing import COVERAGE, LEARNED, MAJORITY, METHODS, NOISY, WEIGHTED
from experiments.preferences.test_time.findings import SMALL
from experiments.preferences.test_time.pictures import VERIFIERS
from gendiff.runs.reporting import figures
from gendiff.runs.reporting.figures import Curve, Panel
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements

OPERATIONS, ACCURACY = "operations per question", "share of right answers"


def compute(measured: Measurements, folder: RunFolder) -> Figure:
    """Every network and method."""
    panels: dict[str, list[Curve]] = {name: [] for name in measured.names("methods")}
    for each in _group(measured, "methods"):
        if each.measures["method"] in METHODS:
            label = str(each.measures["method"]).removeprefix("best of n, ")  # the legend has no room for it
            panels[each.name].append(_curve(label, each.arrays["operations"], each.arrays["shares"]))
    caption = (
        "Share of right answers to held-out sums over the operations of 1, 2, 4, … samples: means of seeds, with the "
        "least and the largest. A score stands for best of n by it. A verifier's operations count where it is asked; "
        "the log-probability is free. Best of n by the exact checker is coverage."
    )
    drawn_panels = [Panel(name, curves) for name, curves in panels.items()]
    return figures.small_multiples(drawn_panels, folder.figure("compute"), caption, x_label=OPERATIONS, log_x=True)


def noise(measured: Measurements, folder: RunFolder) -> Figure:
    """Noisy verifiers of the small network."""
    shares = {
        str(each.measures["method"]): each.arrays["shares"]
        for each in _group(measured, "methods")
        if each.name == SMALL
    }
    noises = np.array([float(name.removeprefix(NOISY)) for name in shares if name.startswith(NOISY)])
    # (seeds, counts, noises)
    noisy = np.stack([values for name, values in shares.items() if name.startswith(NOISY)], 2)
    powers = [power for power in range(noisy.shape[1]) if power in (2, 4, noisy.shape[1] - 1)]
    curves = [_curve(f"best of {2**power}", noises, noisy[:, power]) for power in powers]
    curves.append(_curve(f"majority of {2 ** powers[-1]}", noises, np.repeat(shares[MAJORITY][:, -1:], len(noises), 1)))
    caption = (
        "Best of n by a verifier that adds noise to the truth, over the deviation of its noise: a weak one is "
        "worse than a vote."
    )
    return figures.curves(
        curves, folder.figure("noise"), caption, x_label="standard deviation of noise", y_label=ACCURACY, log_x=True
    )


def difficulty(measured: Measurements, folder: RunFolder) -> Figure:
    """A small network with search beside a larger one."""
    panels = []
    for each in _group(measured, "carries"):
        if each.name != "all":
            title = f"{each.name} carr{'y' if each.name == '1' else 'ies'}, {each.measures['sums']} sums"
            panels.append(Panel(title, [_curve(name, *values) for name, values in each.arrays.items()]))
    caption = (
        "A small network with search beside a larger one, by how many carries a sum has, over the operations per "
        "question."
    )
    return figures.small_multiples(
        panels, folder.figure("difficulty"), caption, x_label=OPERATIONS, columns=2, log_x=True
    )


def doublings(measured: Measurements, folder: RunFolder) -> Figure:
    """Of training and of samples."""
    right = np.stack([each.arrays["right"] for each in _group(measured, "doublings")], 1)
    curves = [_curve("one sample, by steps of training", np.arange(1 - right.shape[1], 1), right)]
    for each in _group(measured, "methods"):
        if each.name == SMALL and each.measures["method"] in (COVERAGE, MAJORITY, LEARNED, WEIGHTED):
            shares = each.arrays["shares"]
            curves.append(_curve(f"{each.measures['method']}, by samples", np.arange(shares.shape[1]), shares))
    caption = (
        "The small network without scratch-work: what doublings of training bring, up to 0, and what doublings of "
        "samples bring from there on. One question is asked here; whoever asks many pays for samples each time and for "
        "training once."
    )
    return figures.curves(
        curves, folder.figure("doublings"), caption, x_label="doublings of computation", y_label=ACCURACY
    )


def thinking(measured: Measurements, folder: RunFolder) -> Figure:
    """The likeliest answers of each network."""
    rows = sorted(_group(measured, "likeliest"), key=lambda each: measured.names("likeliest").index(each.name))
    shares = {
        f"{each.name}, seed {each.seed}": number
        for each in rows
        if isinstance(number := each.measures["likeliest"], tuple)
    }
    caption = "Share of right answers by always taking the likeliest token, with exact intervals."
    return figures.bars(shares, folder.figure("thinking"), caption, x_label=ACCURACY)


def budget(measured: Measurements, folder: RunFolder) -> Figure:
    """Forced scratch-work."""
    rows = [each for each in _group(measured, "budgets") if each.name.isdigit()]
    tokens = np.array([int(each.name) for each in rows])
    curves = [Curve(seed, tokens, np.array([each.measures[seed] for each in rows])) for seed in rows[0].measures]
    caption = (
        "Right answers over the tokens of scratch-work that the network is forced to write before it answers. "
        f"{tokens[-1] - 2} tokens are all that it has learned; more are beyond its training."
    )
    return figures.curves(curves, folder.figure("budget"), caption, x_label="tokens of scratch-work", y_label=ACCURACY)


def steered(measured: Measurements, folder: RunFolder) -> Figure:
    """Choices of verifiers in their own eyes and the judge's."""
    panels = []
    for each in _group(measured, "pictures"):
        if each.name in VERIFIERS:
            claimed, judged = each.arrays["claimed"], each.arrays["judged"]
            x = 2 ** np.arange(claimed.shape[1])
            curves = [_curve("the verifier says", x, claimed), _curve("the judge says", x, judged)]
            panels.append(Panel(f"verifier trained on {each.name}", curves))
    caption = (
        "Share of pictures that show the digit which was asked for, over the number of noises that a verifier "
        "chose among."
    )
    return figures.small_multiples(
        panels, folder.figure("steered"), caption, x_label="pictures to choose from", log_x=True
    )


def pictures(measured: Measurements, folder: RunFolder) -> Figure:
    """The best of the first set."""
    rows = {each.name: each.arrays["best"] for each in _group(measured, "pictures") if "best" in each.arrays}
    caption = (
        f"Digits 0 to 9, each chosen from the same pictures. Verifiers trained on: {'; '.join(rows)}, one row each."
    )
    return figures.named_rows(rows, folder.figure("pictures"), caption)


def _group(measured: Measurements, name: str) -> list[Measured]:
    return [each for each in measured if each.group == name]


def _curve(label: str, x: np.ndarray, values: np.ndarray) -> Curve:
    """values: (seeds, x)."""
    return Curve(label, x, values.mean(0), values.min(0), values.max(0))
