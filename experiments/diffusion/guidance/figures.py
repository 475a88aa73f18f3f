"""What the guidance experiment shows: trade-off curves, the same samples at every scale, pictures under sliders, and
tables.
"""

import functools
from collections.abc import Mapping

import numpy as np

from experiments.diffusion import sweeps
from experiments.diffusion.guidance import cures
from experiments.diffusion.guidance.config import MODERATE, STRONG, Config
from experiments.diffusion.guidance.cures import Comparisons, RuleComparison
from experiments.diffusion.guidance.measures import MEASURES, NAMES
from experiments.diffusion.guidance.sets import DrawnSets
from experiments.diffusion.sweeps import Sweep
from gendiff.runs.reporting import figures as draw
from gendiff.runs.reporting.results import Axis, CellValue, Explorer, Figure, Table
from gendiff.runs.run_folder import RunFolder

PALETTE = 128
"""Colours of an explorer's file."""


def figures(config: Config, folder: RunFolder, samples: DrawnSets) -> tuple[Figure, ...]:
    """Curves and pictures, left in the folder."""
    plots = []
    scales = ", ".join(f"{scale:g}" for scale in config.scales)
    for subject, plain in samples.plain.items():
        caption = (
            f"{subject.capitalize()}: every measure against the guidance scale; bands reach from the least to "
            "the largest seed."
        )
        plots.append(sweeps.curves(NAMES, folder, f"curves_{subject}", caption, {subject: plain}, "guidance scale w"))
    names = [f"w = {scale:g}" for scale in config.scales]
    for subject, images in samples.shown.items():
        caption = (
            f"{subject.capitalize()}: the same {images.shape[1]} samples in each column, one guidance scale per "
            f"row: w = {scales}."
        )
        plots.append(
            draw.grid(
                np.concatenate(images), images.shape[1], folder.figure(f"pictures_{subject}"), caption, rows=names
            )
        )
    rules = {"plain": samples.short.at_scales([scale for scale in samples.short.scales if 1 <= scale <= STRONG])}
    rules |= {name: curve for name, curve in samples.cures.items() if name != "CFG++"}
    caption = "Digits: plain guidance and its cures (CFG++, whose scale ends at 1, is in the tables)."
    plots.append(sweeps.curves(NAMES, folder, "cures", caption, rules, "scale"))
    dropouts = {f"dropout {share:g}": curve for share, curve in samples.dropouts.items()}
    caption = "Digits: the share of labels dropped in training, one network each."
    return (*plots, sweeps.curves(NAMES, folder, "dropouts", caption, dropouts, "guidance scale w"))


def explorers(config: Config, folder: RunFolder, samples: DrawnSets) -> tuple[Explorer, ...]:
    """Sliders for guidance, steps and seed."""
    axes = (Axis("guidance", config.scales), Axis("steps", config.explored_steps), Axis("seed", config.seeds))
    start = (config.scales.index(MODERATE), len(config.explored_steps) - 1, 0)
    explorer, caption = (
        functools.partial(draw.explorer, start=start, columns=8, colours=PALETTE),
        "samples from the same noise.",
    )
    named = {name: (folder.figure(f"explore_{name}"), f"{name.capitalize()}: {caption}") for name in samples.explored}
    return tuple(explorer(images, axes, *named[name]) for name, images in samples.explored.items())


def tables(config: Config, samples: DrawnSets, judged: Comparisons) -> tuple[Table, ...]:
    """Every number that the experiment found."""
    strong, moderate = f"w = {STRONG:g}", f"w = {MODERATE:g}"
    deaf = {f"{subject}, label withheld": sweep for subject, sweep in samples.deaf.items()} | {
        "digits, shuffled labels": samples.shuffled
    }
    dropouts = {f"{share:g}": sweep for share, sweep in samples.dropouts.items()}
    at_strong = f"Digits: each cure at {strong} (CFG++ at its largest scale), less plain guidance there"
    return (
        _trends(judged),
        _compared(f"The essay's scale: plain guidance at {strong} less that at w = 1", "data", judged.essay),
        _compared(
            f"Digits: each cure at the adherence of plain guidance at {moderate}", "rule", judged.equal, absolute=True
        ),
        _compared(f"The same, less plain guidance at {moderate}", "rule", judged.equal),
        _compared(at_strong, "rule", judged.strong),
        *(
            _sweeps(config, f"{subject}: plain guidance, mean over the seeds", {"": plain})
            for subject, plain in samples.plain.items()
        ),
        _sweeps(config, "digits: share of labels dropped in training, one seed each", dropouts),
        _sweeps(config, "digits: cures, mean over the seeds", samples.cures),
        _sweeps(config, "Networks that ignore their label", deaf),
    )


def _trends(judged: Comparisons) -> Table:
    all_trends = [
        (subject, measure, trend, judged.corrected[subject, measure])
        for (subject, measure), trend in judged.trends.items()
    ]
    deaf = [(f"{subject}, label withheld", "adherence", trend, None) for subject, trend in judged.ignoring.items()]
    rows: list[tuple[CellValue, ...]] = []
    for subject, measure, trend, corrected in [*all_trends, *deaf]:
        rows.append(
            (subject, NAMES[measure], trend.rho, ", ".join(f"{rho:.2f}" for rho in trend.each), trend.p, corrected)
        )
    columns = ("data", "measure", "Spearman's rho with w", "of each seed", "p, one-sided", "p after Holm")
    return Table("Trends with the guidance scale; adherence as far as it is claimed", columns, tuple(rows))


def _compared(title: str, first: str, compared: Mapping[str, RuleComparison], *, absolute: bool = False) -> Table:
    """What is left after plain guidance's, or the measures themselves and whether the rule is as faithful."""
    rows: list[tuple[CellValue, ...]] = []
    for name, curve in compared.items():
        numbers, reached = (curve.at, (curve.reached,)) if absolute else (curve.less, ())
        rows.append((name, curve.scale, *(numbers[measure] for measure in MEASURES), *reached))
    return Table(title, (first, "scale", *NAMES.values(), *(("reached",) if absolute else ())), tuple(rows))


def _sweeps(config: Config, title: str, sweeps: Mapping[str, Sweep]) -> Table:
    """Intervals of a bootstrap over seeds, where there are several, and rows. A sweep alone has no name."""
    rows: list[tuple[CellValue, ...]] = []
    for name, sweep in sweeps.items():
        for scale in sweep.scales:
            one = sweep.at_scales([scale])
            at = cures.at_equal_adherence(one, one, resamples=min(config.resamples, 300)).at
            rows.append((*([name] if name else []), scale, *at.values()))
    return Table(title, (*(() if "" in sweeps else ("of",)), "w", *NAMES.values()), tuple(rows))
