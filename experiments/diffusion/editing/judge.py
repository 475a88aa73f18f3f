"""How the editing experiment judges: what is restored against rivals that learned no digits, and what two networks must not restore."""

import functools

import jax
import numpy as np

from experiments.diffusion import image_training
from experiments.diffusion.editing import figures, measures
from experiments.diffusion.editing import problems as editing_problems
from experiments.diffusion.editing.config import Config, model
from experiments.diffusion.editing.measures import Edited, Examiner, Restoration
from experiments.diffusion.editing.problems import Problem
from experiments.diffusion.editing.programs import EditingPrograms
from experiments.framework.progress import Progress
from experiments.framework.registry import Outcome
from experiments.framework.run_folder import RunFolder
from experiments.reporting import verdicts
from experiments.reporting.verdicts import Claim
from gendiff.core.types import Params
from gendiff.data import digits

SHARES = 7
"""Images of each row from digit to digit."""


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
            pictures = figures.pictures(folder, problems, truth, rivals, restored[seed], edited[seed].images, between, chosen)
    pictures += figures.plots(config, folder, rivals, restored, edited)
    return Outcome(tuple(claims), tuple(pictures), figures.tables(rivals, restored, edited))


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
    config: Config,
    seed: int,
    problems: dict[str, Problem],
    rivals: dict[str, list[Restoration]],
    restored: dict[str, dict[str, Restoration]],
    truth: np.ndarray,
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
    return [*claims, claim("kept", "RePaint: largest change of a pixel that was to be kept", float(max(changes)), "<=", "kept")]


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
        claim("strength", "img2img: rank correlation of strength and distance to its digit", own, ">=", "strength"),
        control("strength-other", "img2img: rank correlation of strength and distance to another digit", others, "<=", "strength"),
    ]
