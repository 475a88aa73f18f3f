"""How the editing experiment judges, and what it shows.

Restorations are held against rivals that learned no digits; an untrained network and other digits' measurements must not restore.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from experiments.diffusion import image_training
from experiments.diffusion.editing import measures
from experiments.diffusion.editing import problems as editing_problems
from experiments.diffusion.editing.config import Config, model
from experiments.diffusion.editing.measures import Edited, Examiner, Restoration
from experiments.diffusion.editing.problems import Problem
from experiments.diffusion.editing.programs import EditingPrograms
from experiments.framework.progress import Progress
from experiments.framework.registry import Outcome
from experiments.framework.run_folder import RunFolder
from experiments.reporting import figures, verdicts
from experiments.reporting.results import Figure, Table
from experiments.reporting.verdicts import Claim
from gendiff.core.types import Params
from gendiff.data import digits

SHARES = 7
"""Images of each row from digit to digit."""
Rivals = Mapping[str, list[Restoration]]
"""By problem."""
Restored = Mapping[str, Mapping[str, Restoration]]
"""By problem and method."""


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and tables from the checkpoints of the folder."""
    split, network = digits.load(), model(config)
    truth, labels = split.held_out_images[: config.digits], split.held_out_labels[: config.digits]
    problems = editing_problems.problems(config, split, truth)
    examine, programs = Examiner(split, truth, labels), EditingPrograms(config, network)
    rivals = {name: _rivals(problem, examine, split) for name, problem in problems.items()}
    claims: list[Claim] = []
    restored: dict[int, dict[str, dict[str, Restoration]]] = {}
    edited: dict[int, Edited] = {}
    for seed in config.seeds:
        params = jax.device_get(image_training.averaged(network, folder, seed))
        blank = jax.device_get(network.init(jax.random.key(seed)))
        restored[seed] = {}
        with progress.phase("restore", seed=seed), progress.task(f"restore, seed {seed}", len(problems)) as task:
            for done, (name, problem) in enumerate(problems.items(), 1):
                restored[seed][name] = _restored(config, problem, programs, examine, params, blank)
                task.update(done)
        with progress.phase("invert and edit", seed=seed):
            edited[seed] = _edited(config, programs, params, truth)
        claims += _claims_of_problems(config, seed, problems, rivals, restored[seed], truth)
        claims += _claims_of_edits(config, seed, edited[seed])
        if seed == config.seeds[0]:
            chosen = np.array([np.flatnonzero(labels == label)[0] for label in np.unique(labels)])  # the first digit of each class
            partners = np.arange(len(truth))
            partners[chosen[:-1]] = chosen[1:]
            between = programs.between(params, truth, partners, np.linspace(0, 1, SHARES))[:, chosen[:-1]]
            pictures = _pictures(folder, problems, truth, rivals, restored[seed], edited[seed].images, between, chosen)
    pictures += _plots(config, folder, rivals, restored, edited)
    return Outcome(tuple(claims), tuple(pictures), _tables(rivals, restored, edited))


def _rivals(problem: Problem, examine: Examiner, split: digits.Split) -> list[Restoration]:
    """What learned no digits first, then the training digit that is measured most alike, then the digits themselves."""
    known = editing_problems.nearest(problem, split.train_images)
    sets = {problem.rival_name: problem.rival, "nearest training digit": known, "the digit itself": examine.truth}
    return [examine(problem, name, [images]) for name, images in sets.items()]


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
    return {name: examine(problem, name, images) for name, images in drawn.items()}


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


def _claims_of_problems(
    config: Config, seed: int, problems: Mapping[str, Problem], rivals: Rivals, restored: Restored, truth: np.ndarray
) -> list[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, seed, n=len(truth))
    claims, changes = [], []
    for name, problem in problems.items():
        slug, rival, by, beside = name.replace(" ", "-"), rivals[name][0], restored[name], f"dB above {problem.rival_name}"
        for method in [method for method in ("PiGDM", "DPS", "RePaint") if method in by]:
            statement = f"{name} by {method}: the judge's accuracy less that on {problem.rival_name}"
            read = measures.share(by[method].right - rival.right)
            claims.append(claim(f"{slug}-{method.lower()}-judge", statement, read, ">=", "accuracy"))
        if problem.mask is None:
            better = measures.gain(by["PiGDM"].error, rival.error)
            claims.append(claim(f"{slug}-psnr", f"{name} by PiGDM: {beside}", better, ">=", "psnr"))
        else:
            changes.append(np.max(np.abs(np.where(problem.mask, 0, by["RePaint"].first - truth))))
        for bad, id in (("PiGDM, untrained", "untrained"), ("PiGDM, other's data", "shuffled")):
            worse = measures.gain(by[bad].error, rival.error)
            claims.append(claim(f"{slug}-{id}", f"{name} by {bad}: {beside}", worse, "<=", "psnr", kind="control"))
    return [*claims, claim("kept", "RePaint: largest change of a pixel that was to be kept", float(max(changes)), "<=")]


def _claims_of_edits(config: Config, seed: int, edited: Edited) -> list[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, seed, n=len(edited.fresh))
    control = functools.partial(claim, kind="control")
    most = edited.trips[max(edited.trips)]
    own, others = (measures.rank_correlation(tuple(of), np.stack(list(of.values()))) for of in (edited.own, edited.others))
    worst, missed = (float(np.sqrt(error)) for error in (edited.reversible.max(), edited.fresh.min()))
    return [
        claim("round-trip-slope", "DDIM inversion and back: slope of log error on log steps", measures.slope(edited.trips), "<=", "slope"),
        claim("round-trip-reversible", "reversible Heun and back: largest error of a digit", worst, "<=", "reversible"),
        control("fresh-ratio", "from fresh noise: error in DDIM round trips", measures.times(edited.fresh, most), ">=", "fresh"),
        control("fresh-reversible", "from fresh noise: least error of a digit", missed, ">=", "reversible"),
        claim("strength", "img2img: rank correlation of strength and distance to its digit", own, ">="),
        control("strength-other", "img2img: rank correlation of strength and distance to another digit", others, "<=", "strength"),
    ]


def _pictures(
    folder: RunFolder,
    problems: Mapping[str, Problem],
    truth: np.ndarray,
    rivals: Rivals,
    restored: Restored,
    edits: Mapping[float, np.ndarray],
    between: np.ndarray,
    chosen: np.ndarray,
) -> list[Figure]:
    """One grid per problem, with one digit per column; img2img by strength; and the way from digit to digit."""
    grids = []
    for name, problem in problems.items():
        methods = [method for method in ("RePaint", "PiGDM", "DPS") if method in restored[name]]
        rows = [truth, problem.picture, rivals[name][0].first, *(restored[name][method].first for method in methods)]
        file = name.replace(" ", "_").replace("-", "_")
        named = ", ".join(["the digit", "what is measured", problem.rival_name, *methods])
        caption = f"{name.capitalize()}, one row each: {named}. One sample each, not selected."
        grids.append(figures.grid(np.concatenate([row[chosen] for row in rows]), len(chosen), folder.figure(file), caption))
    strengths, pairs = (np.concatenate(rows) for rows in ([images[chosen] for images in edits.values()], between.swapaxes(0, 1)))
    shares = ", ".join(f"{strength:g}" for strength in edits)
    of_pairs = "From one held-out digit (left) to another (right), by slerp between their noises under reversible Heun."
    of_strengths = f"img2img without a label, one strength per row: {shares}."
    return [
        *grids,
        figures.grid(strengths, len(chosen), folder.figure("strengths"), of_strengths),
        figures.grid(pairs, len(between), folder.figure("between"), of_pairs),  # one pair per row
    ]


def _plots(
    config: Config, folder: RunFolder, rivals: Rivals, restored: Mapping[int, Restored], edited: Mapping[int, Edited]
) -> list[Figure]:
    """PSNR of every method of the first seed, and the round trip's error of every seed."""
    first = config.seeds[0]
    shown = {name: (*rivals[name][:2], *by.values()) for name, by in restored[first].items()}
    numbers = {f"{name}: {of.name}": measures.decibels(of.error) for name, each in shown.items() for of in each}
    errors = {seed: np.sqrt([each.mean() for each in of.trips.values()]) for seed, of in edited.items()}
    curves = [figures.Curve(f"seed {seed}", np.array(config.round_trips), error) for seed, error in errors.items()]
    options: Any = {"x_label": "steps there, and as many back", "y_label": "rms error", "log_x": True, "log_y": True}
    of_psnr = f"PSNR over all digits, of hidden pixels only where there are some; seed {first}, 95 % intervals."
    of_trips = "DDIM inversion and back: root mean square error of the digits against the number of steps."
    return [
        figures.bars(numbers, folder.figure("psnr"), of_psnr, x_label="PSNR in dB"),
        figures.curves(curves, folder.figure("round_trip"), of_trips, **options),
    ]


def _tables(rivals: Rivals, restored: Mapping[int, Restored], edited: Mapping[int, Edited]) -> tuple[Table, ...]:
    """Every number of every method and seed, and of every round trip and edit."""
    lines = [_line(None, problem, of) for problem, results in rivals.items() for of in results]
    lines += [_line(seed, problem, of) for seed, results in restored.items() for problem, by in results.items() for of in by.values()]
    columns = ("problem", "method", "seed", "PSNR", "PSNR of one sample", "judge", "rms of y - A x")
    trips = []
    for seed, of in edited.items():
        trips += [(seed, f"DDIM, {steps} steps and back", _rms(error)) for steps, error in of.trips.items()]
        trips += [(seed, "reversible Heun and back", _rms(of.reversible)), (seed, "DDIM from fresh noise", _rms(of.fresh))]
        trips += [(seed, f"img2img of strength {strength:g}", _rms(error)) for strength, error in of.own.items()]
    title = "What is restored, in dB of the mean square error over all digits, and how often the judge reads it right"
    return (
        Table(title, columns, tuple(lines)),
        Table("Root mean square distance to the digit", ("seed", "by", "distance"), tuple(trips)),
    )


def _line(seed: int | None, problem: str, of: Restoration) -> tuple[Any, ...]:
    exact = not of.single.any()  # no error, no decibels
    psnr = [None, None] if exact else [measures.decibels(of.error), measures.decibels(of.single)[0]]
    return (problem, of.name, seed, *psnr, measures.share(of.right), _rms(of.residual))


def _rms(square: np.ndarray) -> float:
    return float(f"{np.sqrt(square.mean()):.4g}")
