"""How the editing experiment judges, and what it shows.

Restorations are held against rivals that learned no digits; an untrained network and other digits' measurements must not restore.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.diffusion.editing import measures
from experiments.diffusion.editing import problems as editing_problems
from experiments.diffusion.editing.config import Config, model
from experiments.diffusion.editing.measures import Edited, Examiner, Restoration
from experiments.diffusion.editing.problems import Problem
from experiments.diffusion.editing.programs import EditingPrograms
from gendiff.commands.images import image_training
from gendiff.core.types import Params
from gendiff.data import digits
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, verdicts
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder

SHARES = 7
"""Images of each row from digit to digit."""


@dataclasses.dataclass(frozen=True)
class Found:
    """All about the held-out digits `truth` (n, 8, 8, 1). edited: by seed. restored: by seed, problem and method; None holds the rivals."""

    config: Config
    truth: np.ndarray
    problems: Mapping[str, Problem]
    restored: dict[int | None, dict[str, dict[str, Restoration]]]
    edited: dict[int, Edited] = dataclasses.field(default_factory=dict)

    def rival(self, name: str) -> Restoration:
        """The problem's own rival, which learned no digits."""
        return self.restored[None][name][self.problems[name].rival_name]


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and tables from the checkpoints of the folder."""
    split, network = digits.load(), model(config)
    truth, labels = split.held_out_images[: config.digits], split.held_out_labels[: config.digits]
    problems = editing_problems.problems(config, split, truth)
    examine, programs = Examiner(split, truth, labels), EditingPrograms(config, network)
    found = Found(config, truth, problems, {None: {name: _rivals(problem, examine, split) for name, problem in problems.items()}})
    params = {seed: jax.device_get(image_training.averaged(network, folder, seed)) for seed in config.seeds}
    claims: list[Claim] = []
    for seed in config.seeds:
        blank = jax.device_get(network.init(jax.random.key(seed)))
        found.restored[seed] = {}
        with progress.phase("restore", seed=seed), progress.task(f"restore, seed {seed}", len(problems)) as task:
            for done, (name, problem) in enumerate(problems.items(), 1):
                found.restored[seed][name] = _restored(config, problem, programs, examine, params[seed], blank)
                task.update(done)
        with progress.phase("invert and edit", seed=seed):
            found.edited[seed] = _edited(config, programs, params[seed], truth)
        claims += [*_claims_of_problems(found, seed), *_claims_of_edits(found, seed)]
    chosen = np.array([np.flatnonzero(labels == label)[0] for label in np.unique(labels)])  # the first digit of each class
    partners = np.arange(len(truth))
    partners[chosen[:-1]] = chosen[1:]
    between = programs.between(params[config.seeds[0]], truth, partners, np.linspace(0, 1, SHARES))[:, chosen[:-1]]
    tables = _tables(found)
    shown = *_pictures(folder, found, chosen, between), *plots(config, folder, tables), _round_trips(folder, found)
    return Outcome(tuple(claims), shown, tables)


def plots(config: Config, folder: RunFolder, tables: Sequence[Table]) -> tuple[Figure, ...]:
    """PSNR of every method of the first seed."""
    first, by_problem = config.seeds[0], dict[str, dict[str, Any]]()
    for problem, method, seed, psnr, *_ in tables[0].rows:
        if seed in (None, first) and psnr is not None:
            by_problem.setdefault(str(problem), {})[f"{problem}: {method}"] = psnr
    numbers = {name: psnr for of in by_problem.values() for name, psnr in of.items()}
    caption = f"PSNR over all digits, of hidden pixels only where there are some; seed {first}, 95 % intervals."
    return (figures.bars(numbers, folder.figure("psnr"), caption, x_label="PSNR in dB"),)


def _rivals(problem: Problem, examine: Examiner, split: digits.Split) -> dict[str, Restoration]:
    """What learned no digits first, then the training digit that is measured most alike, then the digits themselves."""
    known = editing_problems.nearest(problem, split.train_images)
    return examine(problem, {problem.rival_name: [problem.rival], "nearest training digit": [known], "the digit itself": [examine.truth]})


def _restored(
    config: Config, problem: Problem, programs: EditingPrograms, examine: Examiner, params: Params, blank: Params
) -> dict[str, Restoration]:
    """By every method that fits, by an untrained network, and from the measurements of other digits."""
    samples = range(1 if problem.mask is not None else config.posterior_samples)
    others = np.roll(problem.measured, 1, axis=0)  # held-out digits come in random order
    drawn = {"PiGDM": [programs.restore("PiGDM", params, problem, sample=sample) for sample in samples]}
    for method in ("DPS", "RePaint") if problem.mask is not None else ("DPS",):
        drawn[method] = [programs.restore(method, params, problem)]
    drawn["PiGDM, untrained"] = [programs.restore("PiGDM", blank, problem)]
    drawn["PiGDM, other's data"] = [programs.restore("PiGDM", params, problem, measured=others)]
    return examine(problem, drawn)


def _edited(config: Config, programs: EditingPrograms, params: Params, truth: np.ndarray) -> Edited:
    apart = measures.square_error
    trips, fresh = programs.round_trips(params, truth)
    images = {strength: programs.edit(params, truth, strength) for strength in config.strengths}
    return Edited(
        trips={steps: apart(back, truth) for steps, back in trips.items()},
        fresh=apart(fresh, truth),
        reversible=apart(programs.reversible_trip(params, truth), truth),
        own={strength: apart(edit, truth) for strength, edit in images.items()},
        others={strength: apart(edit, np.roll(truth, 1, axis=0)) for strength, edit in images.items()},
        images=images,
    )


def _claims_of_problems(found: Found, seed: int) -> list[Claim]:
    claim = functools.partial(verdicts.against, found.config.thresholds, seed, n=len(found.truth))
    claims, changes = [], []
    for name, problem in found.problems.items():
        slug, rival, by, beside = name.replace(" ", "-"), found.rival(name), found.restored[seed][name], f"dB above {problem.rival_name}"
        gains = {method: measures.gain(of.error, rival.error) for method, of in by.items()}
        for method in [method for method in ("PiGDM", "DPS", "RePaint") if method in by]:
            statement = f"{name} by {method}: the judge's accuracy less that on {problem.rival_name}"
            read = measures.share(by[method].right - rival.right)
            claims.append(claim(f"{slug}-{method.lower()}-judge", statement, read, ">=", "accuracy"))
        if problem.mask is None:
            claims.append(claim(f"{slug}-psnr", f"{name} by PiGDM: {beside}", gains["PiGDM"], ">=", "psnr"))
        else:
            changes.append(np.max(np.abs(np.where(problem.mask, 0, by["RePaint"].first - found.truth))))
        for bad, id in (("PiGDM, untrained", "untrained"), ("PiGDM, other's data", "shuffled")):
            claims.append(claim(f"{slug}-{id}", f"{name} by {bad}: {beside}", gains[bad], "<=", "psnr", kind="control"))
    return [*claims, claim("kept", "RePaint: largest change of a pixel that was to be kept", float(max(changes)), "<=")]


def _claims_of_edits(found: Found, seed: int) -> list[Claim]:
    claim = functools.partial(verdicts.against, found.config.thresholds, seed, n=len(found.truth))
    control, edited = functools.partial(claim, kind="control"), found.edited[seed]
    missed = measures.times(edited.fresh, edited.trips[max(edited.trips)])
    own, others = (measures.rank_correlation(tuple(of), np.stack(list(of.values()))) for of in (edited.own, edited.others))
    worst, least = (float(np.sqrt(error)) for error in (edited.reversible.max(), edited.fresh.min()))
    return [
        claim("round-trip-slope", "DDIM inversion and back: slope of log error on log steps", measures.slope(edited.trips), "<=", "slope"),
        claim("round-trip-reversible", "reversible Heun and back: largest error of a digit", worst, "<=", "reversible"),
        control("fresh-ratio", "from fresh noise: error in DDIM round trips", missed, ">=", "fresh"),
        control("fresh-reversible", "from fresh noise: least error of a digit", least, ">=", "reversible"),
        claim("strength", "img2img: rank correlation of strength and distance to its digit", own, ">="),
        control("strength-other", "img2img: rank correlation of strength and distance to another digit", others, "<=", "strength"),
    ]


def _pictures(folder: RunFolder, found: Found, chosen: np.ndarray, between: np.ndarray) -> list[Figure]:
    """One grid per problem, with one digit per column; img2img by strength; and the way from digit to digit."""
    grids, first = [], found.config.seeds[0]
    for name, problem in found.problems.items():
        shown = {"the digit": found.truth, "what is measured": problem.picture, problem.rival_name: found.rival(name).first}
        by = found.restored[first][name]
        shown |= {method: by[method].first for method in ("RePaint", "PiGDM", "DPS") if method in by}
        images, file = np.concatenate([images[chosen] for images in shown.values()]), name.replace(" ", "_").replace("-", "_")
        caption = f"{name.capitalize()}, one row each: {', '.join(shown)}. One sample each, not selected."
        grids.append(figures.grid(images, len(chosen), folder.figure(file), caption, rows=list(shown)))
    edits = found.edited[first].images
    strengths, pairs = (np.concatenate(rows) for rows in ([images[chosen] for images in edits.values()], between.swapaxes(0, 1)))
    of_strengths = f"img2img without a label, one strength per row: {', '.join(f'{strength:g}' for strength in edits)}."
    of_pairs = "From one held-out digit (left) to another (right), by slerp between their noises under reversible Heun."
    return [
        *grids,
        figures.grid(strengths, len(chosen), folder.figure("strengths"), of_strengths, rows=[f"{strength:g}" for strength in edits]),
        figures.grid(pairs, len(between), folder.figure("between"), of_pairs),  # one pair per row
    ]


def _round_trips(folder: RunFolder, found: Found) -> Figure:
    errors = {seed: np.sqrt([each.mean() for each in of.trips.values()]) for seed, of in found.edited.items()}
    curves = [figures.Curve(f"seed {seed}", np.array(found.config.round_trips), error) for seed, error in errors.items()]
    options: Any = {"x_label": "steps there, and as many back", "y_label": "rms error", "log_x": True, "log_y": True}
    caption = "DDIM inversion and back: root mean square error of the digits against the number of steps."
    return figures.curves(curves, folder.figure("round_trip"), caption, **options)


def _tables(found: Found) -> tuple[Table, ...]:
    """Every number of every method and seed, and of every round trip and edit."""
    lines, trips = [], []
    for seed, restored in found.restored.items():
        for problem, method, of in [(problem, method, of) for problem, by in restored.items() for method, of in by.items()]:
            psnr = (None, None) if of.exact else (measures.decibels(of.error), measures.decibels(of.single)[0])
            lines.append((problem, method, seed, *psnr, measures.share(of.right), _rms(of.residual)))
    for seed, edited in found.edited.items():
        trips += [(seed, f"DDIM, {steps} steps and back", _rms(error)) for steps, error in edited.trips.items()]
        trips += [(seed, "reversible Heun and back", _rms(edited.reversible)), (seed, "DDIM from fresh noise", _rms(edited.fresh))]
        trips += [(seed, f"img2img of strength {strength:g}", _rms(error)) for strength, error in edited.own.items()]
    title = "What is restored, in dB of the mean square error over all digits, and how often the judge reads it right"
    columns = ("problem", "method", "seed", "PSNR", "PSNR of one sample", "judge", "rms of y - A x")
    beside = Table("Root mean square distance to the digit", ("seed", "by", "distance"), tuple(trips))
    return Table(title, columns, tuple(lines)), beside


def _rms(square: np.ndarray) -> float:
    return float(f"{np.sqrt(square.mean()):.4g}")
