"""What the run shows: right answers against operations, noise and budgets, by difficulty, and pictures that were chosen."""

import numpy as np

from experiments.preferences.test_time import answers, choosing, findings, train
from experiments.preferences.test_time.choosing import COVERAGE, LEARNED, MAJORITY, METHODS, WEIGHTED
from experiments.preferences.test_time.config import Config, counts
from experiments.preferences.test_time.findings import Found, Searched
from experiments.preferences.test_time.pictures import VERIFIERS
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.figures import Curve, Panel
from gendiff.runs.reporting.results import Figure
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder

OPERATIONS = "operations per question"
ACCURACY = "share of right answers"


def every(config: Config, folder: RunFolder, found: Found) -> tuple[Figure, ...]:
    """All figures."""
    return (
        _compute(config, folder, found),
        _noise(config, folder, found),
        _difficulty(config, folder, found),
        _doublings(config, folder, found),
        _thinking(config, folder, found),
        _budget(config, folder, found),
        _steered(config, folder, found),
        _pictures(config, folder, found),
    )


def _compute(config: Config, folder: RunFolder, found: Found) -> Figure:
    panels = [Panel(name, [_over_operations(config, of, method) for method in METHODS]) for name, of in found.searched.items()]
    caption = (
        f"Share of right answers to {config.questions} held-out sums over the operations of 1 to {config.samples} samples: means of seeds, "
        "with the least and the largest. The verifier's operations count where it is asked. Best of n by the exact checker is coverage."
    )
    return figures.small_multiples(panels, folder.figure("compute"), caption, x_label=OPERATIONS, log_x=True)


def _noise(config: Config, folder: RunFolder, found: Found) -> Figure:
    of, noises = found.searched[train.direct(config).name], np.array(config.noises)
    shares = np.stack([of.shares[choosing.noisy(noise)] for noise in config.noises]).mean(3)  # (noises, seeds, counts)
    shown = [at for at, count in enumerate(counts(config)) if count in (4, 16, config.samples)]
    curves = [_curve(f"best of {counts(config)[at]}", noises, shares[:, :, at].T) for at in shown]
    voted = of.shares[MAJORITY][:, -1].mean(1)
    curves.append(_curve(f"majority of {config.samples}", noises, np.repeat(voted[:, None], len(noises), 1)))
    caption = "Best of n by a verifier that adds noise to the truth, over the deviation of its noise: a weak one is worse than a vote."
    return figures.curves(curves, folder.figure("noise"), caption, x_label="standard deviation of noise", y_label=ACCURACY, log_x=True)


def _difficulty(config: Config, folder: RunFolder, found: Found) -> Figure:
    small, large = (found.searched[arm.name] for arm in (train.direct(config), train.large(config)))
    panels = []
    for carries, which in findings.by_carries(config).items():
        curves = [_over_operations(config, small, method, which, f"small, {method}") for method in (COVERAGE, MAJORITY, LEARNED, WEIGHTED)]
        curves.append(_over_operations(config, large, MAJORITY, which, f"large, {MAJORITY}"))
        panels.append(Panel(f"{carries} carr{'y' if carries == 1 else 'ies'}, {int(which.sum())} sums", curves))
    caption = "A small network with search beside a larger one, by how many carries a sum has, over the operations per question."
    return figures.small_multiples(panels, folder.figure("difficulty"), caption, x_label=OPERATIONS, columns=2, log_x=True)


def _doublings(config: Config, folder: RunFolder, found: Found) -> Figure:
    of = found.searched[train.direct(config).name]
    steps = np.arange(-config.halvings, 1)
    training = _curve("one sample, by steps of training", steps, found.shorter.mean(2).T)
    curves = [_curve(f"{method}, by samples", np.arange(len(counts(config))), of.shares[method].mean(2)) for method in METHODS]
    caption = (
        "The small network without scratch-work: what doublings of training bring, up to 0, and what doublings of samples bring from there "
        "on. One question is asked here; whoever asks many pays for samples each time and for training once."
    )
    place = folder.figure("doublings")
    return figures.curves([training, *curves], place, caption, x_label="doublings of computation", y_label=ACCURACY)


def _thinking(config: Config, folder: RunFolder, found: Found) -> Figure:
    greedy = {name: of.greedy for name, of in found.searched.items()} | {train.filler(config).name: found.filler}
    numbers: dict[str, Number | float] = {}
    for name, of in greedy.items():
        for number, seed in enumerate(config.seeds):
            numbers[f"{name}, seed {seed}"] = intervals.share(of[number])
    caption = "Share of right answers by always taking the likeliest token, with exact intervals."
    return figures.bars(numbers, folder.figure("thinking"), caption, x_label=ACCURACY)


def _budget(config: Config, folder: RunFolder, found: Found) -> Figure:
    tokens = np.array(answers.budgets(config))
    curves = [Curve(f"seed {seed}", tokens, of) for seed, of in zip(config.seeds, found.budgets.mean(2).T, strict=True)]
    caption = (
        "Right answers over the tokens of scratch-work that the network is forced to write before it answers. "
        f"{2 * config.digits} tokens are all that it has learned; more are beyond its training."
    )
    return figures.curves(curves, folder.figure("budget"), caption, x_label="tokens of scratch-work", y_label=ACCURACY)


def _steered(config: Config, folder: RunFolder, found: Found) -> Figure:
    drawn, panels = np.array(counts(config)), []
    for name in VERIFIERS:
        of = [chosen[name] for chosen in found.chosen]
        claimed, judged = (np.stack([getattr(each, part) for each in of]).mean(2) for part in ("claimed", "judged"))
        curves = [_curve("the verifier says", drawn, claimed), _curve("the judge says", drawn, judged)]
        panels.append(Panel(f"verifier trained on {name}", curves))
    caption = "Share of pictures that show the digit which was asked for, over the number of noises that a verifier chose among."
    return figures.small_multiples(panels, folder.figure("steered"), caption, x_label="pictures to choose from", log_x=True)


def _pictures(config: Config, folder: RunFolder, found: Found) -> Figure:
    rows = found.shown.pictures
    caption = f"Digits 0 to 9, each chosen from the same {config.samples} pictures. Verifiers trained on: {'; '.join(rows)}, one row each."
    images = np.concatenate(list(rows.values()))
    return figures.grid(images, len(next(iter(rows.values()))), folder.figure("pictures"), caption, rows=list(rows))


def _over_operations(config: Config, of: Searched, method: str, which: np.ndarray | None = None, label: str = "") -> Curve:
    verified = method in (LEARNED, WEIGHTED)
    spent = np.array([findings.spent(config, of.arm, count, verified) for count in counts(config)])
    shares = of.shares[method] if which is None else of.shares[method][:, :, which]
    return _curve(label or method, spent, shares.mean(2))


def _curve(label: str, x: np.ndarray, values: np.ndarray) -> Curve:
    """values: (seeds, x)."""
    return Curve(label, x, values.mean(0), values.min(0), values.max(0))
