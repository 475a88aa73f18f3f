"""What the run shows beside its claims: curves, bars, and three tables."""

from typing import Any

import numpy as np

from experiments.provenance.watermark_text import attacks, findings, flat
from experiments.provenance.watermark_text.config import Config
from experiments.provenance.watermark_text.findings import Seen
from experiments.provenance.watermark_text.marks import GREEN, GUMBEL, TOURNAMENT
from experiments.provenance.watermark_text.null import Null
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder

GROUPS = 6
"""Of texts by their entropy."""


def every(config: Config, folder: RunFolder, even: dict[tuple[float, float, int], np.ndarray], seen: list[Seen]) -> tuple[Figure, ...]:
    """All figures."""
    return _flat(config, folder, even), _deltas(config, folder, seen), _attacks(config, folder, seen), _entropy(config, folder, seen)


def marks_table(config: Config, seen: list[Seen]) -> Table:
    """A row for each kind of mark and delta."""
    rows: list[tuple[Any, ...]] = []
    ways = [(GREEN, delta) for delta in (0.0, *config.deltas)] + [(GUMBEL, config.delta), (TOURNAMENT, config.delta)]
    for kind, delta in ways:
        of = findings.joined(seen, kind, delta)
        name = kind if kind != GREEN else f"{kind}, delta {delta:g}" if delta else "none"
        found = float(np.mean(of.z > config.limit))
        loss = float(of.losses.mean())
        rows.append(
            (name, len(of.z), float(of.z.mean()), found, float(np.median(of.p)), loss, float(np.exp(loss)), float(of.entropies.mean()))
        )
    columns = ("mark", "texts", "mean z", "found", "median p", "nats per token", "perplexity", "entropy")
    note = f"Found: z above {config.limit:g}. Likelihood and entropy are those of the unmarked model along the text."
    return Table("Texts of the model by their mark.", columns, tuple(rows), note=note, main=True)


def changes_table(config: Config, seen: list[Seen]) -> Table:
    """A row for each change of marked texts."""
    whole, rows = findings.joined(seen, GREEN, config.delta), list[tuple[Any, ...]]()
    for (way, share), z in whole.changed.items():
        ratio = float(z.mean() / whole.z.mean())
        rows.append((way, share, len(z), float(z.mean()), ratio, attacks.left(way, share), float(np.mean(z > config.limit))))
    same = findings.joined(seen, GREEN, config.delta, first=config)
    for share in config.paraphrased:
        z = findings.joined(seen, GREEN, config.delta, anew=share).z
        rows.append(
            ("written anew", share, len(z), float(z.mean()), float(z.mean() / same.z.mean()), None, float(np.mean(z > config.limit)))
        )
    columns = ("change", "share of tokens", "texts", "mean z", "of the whole", "by the formula", "found")
    return Table(f"What changes leave of green lists with delta {config.delta:g}.", columns, tuple(rows), main=True)


def null_table(unmarked: dict[str, Null], repeats: np.ndarray) -> Table:
    """A row for each kind of mark on unmarked text."""
    rows: list[tuple[Any, ...]] = [(name, len(of.z), float(of.z.mean()), float(of.z.std()), of.law) for name, of in unmarked.items()]
    rows.append(("green list, bytes, every repeat", len(repeats), float(repeats.mean()), float(repeats.std()), None))
    return Table("Unmarked text under random keys.", ("mark", "texts", "mean z", "sd of z", "p of uniform p-values"), tuple(rows))


def _flat(config: Config, folder: RunFolder, even: dict[tuple[float, float, int], np.ndarray]) -> Figure:
    lengths, curves = np.array(config.lengths), []
    for gamma in config.gammas:
        for delta in config.flat_deltas:
            theory = np.array([flat.expected(gamma, delta, length) for length in config.lengths])
            measured = np.array([even[gamma, delta, length].mean() for length in config.lengths])
            curves.append(figures.Curve(f"gamma {gamma:g}, delta {delta:g}", lengths, theory * measured, 0.9 * theory, 1.1 * theory))
    caption = "Mean z of texts from flat logits by length; the bands are the formula and 10 % around it."
    return figures.curves(curves, folder.figure("flat"), caption, x_label="tokens", y_label="mean z")


def _deltas(config: Config, folder: RunFolder, seen: list[Seen]) -> Figure:
    deltas, panels = np.array((0.0, *config.deltas)), []
    of = [findings.joined(seen, GREEN, delta, first=config) for delta in deltas]
    for title, rows in (("mean z", [each.z for each in of]), ("nats per token", [each.losses for each in of])):
        numbers = np.array([_mean(config, each) for each in rows])
        panels.append(figures.Panel(title, [figures.Curve("green list", deltas, *numbers.T)]))
    caption = (
        "The same prompts with green lists of growing strength: what detection sees, and what the text costs under the unmarked model."
    )
    return figures.small_multiples(panels, folder.figure("deltas"), caption, x_label="delta")


def _attacks(config: Config, folder: RunFolder, seen: list[Seen]) -> Figure:
    whole = findings.joined(seen, GREEN, config.delta)
    bars = {"whole": intervals.share(whole.z > config.limit)}
    bars |= {f"{share:g} {way}": intervals.share(z > config.limit) for (way, share), z in whole.changed.items()}
    for share in config.paraphrased:
        bars[f"{share:g} written anew"] = intervals.share(findings.joined(seen, GREEN, config.delta, anew=share).z > config.limit)
    caption = f"Share of texts with z above {config.limit:g} after changes of a share of their tokens: green lists, delta {config.delta:g}."
    limits = [("threshold for whole texts", config.thresholds.found)]
    return figures.bars(bars, folder.figure("attacks"), caption, x_label="share found", thresholds=limits)


def _entropy(config: Config, folder: RunFolder, seen: list[Seen]) -> Figure:
    of = findings.joined(seen, GREEN, config.delta)
    groups = np.array_split(np.argsort(of.entropies), min(GROUPS, len(of.z) // 2))
    numbers = np.array([_mean(config, of.z[rows]) for rows in groups])
    curve = figures.Curve("texts", np.array([of.entropies[rows].mean() for rows in groups]), *numbers.T)
    caption = "Mean z of groups of equally many texts by the mean entropy of the unmarked model along them."
    return figures.curves([curve], folder.figure("entropy"), caption, x_label="nats per token", y_label="mean z")


def _mean(config: Config, rows: np.ndarray) -> Number:
    return intervals.interval(np.mean, rows, resamples=config.resamples)
