"""What the text-to-image experiment shows: curves against the scale, pictures of prompts, a gallery under sliders, and tables."""

from collections.abc import Mapping

import numpy as np

from experiments.diffusion import sweeps
from experiments.diffusion.sweeps import Sweep
from experiments.diffusion.text_to_image import failures
from experiments.diffusion.text_to_image.sets import Answers, DrawnSets
from gendiff.commands.text_to_image.config import Config
from gendiff.runs.reporting import figures as draw
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.results import Axis, Cell, Explorer, Figure, Table
from gendiff.runs.run_folder import RunFolder

NAMES: Mapping[str, str] = {
    "accuracy": "shown exactly",
    "vendi": "Vendi score of one prompt",
    "clipped": "clipped fraction",
    "contrast": "RMS contrast",
}
"""Every measure, and what figures and tables call it."""
PALETTE = 128
"""Colours of the gallery's file."""
_X = "guidance scale w"


def figures(config: Config, folder: RunFolder, drawn: DrawnSets) -> tuple[Figure, ...]:
    """Curves and pictures, left in the folder."""
    held_out = Sweep(drawn.held_out.sweep.scales, {**drawn.held_out.sweep.tables, **drawn.diversity.tables})
    caption = "Every measure against the guidance scale; bands reach from the least to the largest seed."
    curves = sweeps.curves(NAMES, folder, "curves", caption, {"held out": held_out, "seen": drawn.seen.sweep}, _X)
    of_encoder = {"frozen": drawn.held_out.sweep.seed(0), "from scratch": drawn.scratch_held_out.sweep, "shuffled": drawn.shuffled.sweep}
    names = {"accuracy": "held-out prompts shown exactly"}
    encoders = sweeps.curves(names, folder, "encoders", "The encoder, and what its captions say; the first seed.", of_encoder, _X)
    count, scales = drawn.shown.shape[1], ", ".join(f"{scale:g}" for scale in config.scales)
    caption = f"One held-out prompt per column, one guidance scale per row: w = {scales}. {_listed(drawn, count)}"
    rows, heads = [f"w = {scale:g}" for scale in config.scales], [str(number + 1) for number in range(count)]
    return curves, encoders, draw.grid(np.concatenate(drawn.shown), count, folder.figure("pictures"), caption, rows=rows, heads=heads)


def explorers(config: Config, folder: RunFolder, drawn: DrawnSets, best: int) -> tuple[Explorer, ...]:
    """Held-out prompts under sliders for guidance and steps."""
    axes = (Axis("guidance", config.scales), Axis("steps", config.explored_steps))
    caption = f"Held-out prompts from the same noise. {_listed(drawn, drawn.explored.shape[2])}"
    place, start = folder.figure("gallery"), (best, len(config.explored_steps) - 1)
    return (draw.explorer(drawn.explored, axes, place, caption, start=start, columns=4, colours=PALETTE),)


def tables(config: Config, drawn: DrawnSets, best: int) -> tuple[Table, ...]:
    """Every number that the experiment found."""
    scale = f"w = {config.scales[best]:g}"
    same = {"frozen MiniLM, held out": drawn.held_out, "frozen MiniLM, seen": drawn.seen}
    own = {"from scratch, held out": drawn.scratch_held_out, "from scratch, seen": drawn.scratch_seen}
    missed = {name: _failures(answers, best) for name, answers in (same | own).items()}
    missed["shuffled captions, held out"] = _failures(drawn.shuffled, drawn.shuffled.best)
    title = f"How pictures miss their prompt at {scale}: share of all pictures (shuffled captions at their own best scale)"
    note = (
        "A picture may have several of the last three. Those and swapped colours are counted where all objects stand where they were asked."
    )
    shares = Table(title, ("of", *failures.KINDS), tuple((name, *row) for name, row in missed.items()), note=note)
    return (_sweeps(same | own | {"shuffled captions": drawn.shuffled, "not trained": drawn.untrained}), _diversity(drawn), shares)


def _sweeps(answers: Mapping[str, Answers]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, of in answers.items():
        for place, scale in enumerate(of.sweep.scales):
            rows.append((name, scale, *(_mean(of.sweep, measure, place) for measure in ("accuracy", "clipped", "contrast"))))
    return Table("By guidance scale, mean over the seeds", ("of", "w", NAMES["accuracy"], NAMES["clipped"], NAMES["contrast"]), tuple(rows))


def _diversity(drawn: DrawnSets) -> Table:
    rows = tuple((scale, _mean(drawn.diversity, "vendi", place)) for place, scale in enumerate(drawn.diversity.scales))
    return Table("Diversity of the pictures of one held-out prompt", ("w", NAMES["vendi"]), rows)


def _mean(sweep: Sweep, measure: str, place: int) -> Cell:
    """With the interval of a bootstrap of rows, which are the same prompts for every seed."""
    return intervals.interval(np.mean, np.mean([table[place] for table in sweep.tables[measure]], axis=0))


def _failures(answers: Answers, place: int) -> list[Cell]:
    """Of each kind the share, a mean over the seeds."""
    found = [failures.kinds(readings[place], answers.prompts.attributes) for readings in answers.readings]
    return [float(np.mean([of[kind].mean() for of in found])) for kind in failures.KINDS]


def _listed(drawn: DrawnSets, count: int) -> str:
    return "; ".join(f"{number}: {text}" for number, text in enumerate(drawn.held_out.prompts.captions[:count], 1)) + "."
