"""Can a network that learned digits, and nothing else, restore what a mask, a small sensor or a blur took from unseen
ones?

    python -m experiments run editing

trains the U-Net on the flow process, nearly always without labels, and gives it the held-out digits: with a
part hidden (RePaint, PiGDM, DPS), at half the size, and blurred under noise (PiGDM, DPS). Rivals know no digits beyond
their first two moments: the mean digit, bicubic interpolation, the Wiener filter of the training digits' spectrum. A
judge who saw only real digits reads what comes out. The scale of DPS is the one that restores training digits with the
least error, by seed and problem. A posterior sample pays for its sharpness with twice the least mean
square error, so PiGDM's errors in dB, where all pixels count, are those of the mean of several samples, and the judge
reads a single one. Beside it: DDIM inversion and back, reversible Heun and back, and img2img by strength.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.diffusion.editing import claims, measures, scales
from experiments.diffusion.editing import problems as editing_problems
from experiments.diffusion.editing.claims import (
    DDIM,
    EDIT,
    EDIT_OTHER,
    FRESH,
    ONCE,
    REVERSIBLE,
    RIVALS,
    SHUFFLED,
    SMALLEST,
    UNTRAINED,
)
from experiments.diffusion.editing.config import Config, model
from experiments.diffusion.editing.measures import Edited, Examiner, Restoration
from experiments.diffusion.editing.problems import Problem
from experiments.diffusion.editing.programs import EditingPrograms
from gendiff.commands.images import image_sampling, image_training
from gendiff.core.types import Params
from gendiff.data import digits
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import figures
from gendiff.runs.reporting.answers import Answer, Change
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study


@dataclasses.dataclass(frozen=True)
class Outputs:
    """All about the held-out digits `truth` (n, 8, 8, 1). edited: by seed. restored: by seed, problem and method; None
    holds the rivals. tried: by seed and problem, scale -> square errors of training digits by DPS.
    """

    config: Config
    truth: np.ndarray
    problems: Mapping[str, Problem]
    restored: dict[int | None, dict[str, dict[str, Restoration]]]
    tried: dict[tuple[int, str], dict[float, np.ndarray]] = dataclasses.field(default_factory=dict)
    edited: dict[int, Edited] = dataclasses.field(default_factory=dict)
    pictures: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def rival(self, name: str) -> Restoration:
        """The problem's own rival, which learned no digits."""
        return self.restored[None][name][self.problems[name].rival_name]


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """What every method restores and edits, from the checkpoints of the folder."""
    split, network = digits.load(), model(config)
    truth, labels = split.held_out_images[: config.digits], split.held_out_labels[: config.digits]
    problems = editing_problems.problems(config, split, truth)
    examine, programs = Examiner(split, truth, labels), EditingPrograms(config, network)
    outputs = Outputs(
        config, truth, problems, {None: {name: _rivals(problem, examine, split) for name, problem in problems.items()}}
    )
    params = {seed: jax.device_get(image_training.averaged(network, folder, seed)) for seed in config.seeds}
    known, exercises = scales.training_problems(config, split)
    yield from restored(outputs, None)
    for seed in config.seeds:
        blank = jax.device_get(network.init(jax.random.key(seed)))
        outputs.restored[seed] = {}
        with progress.phase("restore", seed=seed), progress.task(f"restore, seed {seed}", len(problems)) as task:
            for done, (name, problem) in enumerate(problems.items(), 1):
                draw = functools.partial(programs.restore, "DPS", params[seed])
                tried = outputs.tried[seed, name] = scales.try_scales(config, draw, exercises[name], known)
                scale = scales.best(tried)
                outputs.restored[seed][name] = _restored(config, problem, programs, examine, params[seed], blank, scale)
                task.update(done)
        with progress.phase("invert and edit", seed=seed):
            outputs.edited[seed] = _edited(config, programs, params[seed], truth)
        yield from (*restored(outputs, seed), *edited(outputs, seed), *scales_tried(outputs, seed))
    # the first digit of each class
    chosen = np.array([np.flatnonzero(labels == label)[0] for label in np.unique(labels)])
    partners = np.arange(len(truth))
    partners[chosen[:-1]] = chosen[1:]
    between = programs.between(params[config.seeds[0]], truth, partners, np.linspace(0, 1, 7))[:, chosen[:-1]]
    outputs.pictures.update(chosen=chosen, between=between)


def restored(outputs: Outputs, seed: int | None) -> Iterator[Measured]:
    """Of one seed, or of the rivals."""
    n = len(outputs.truth)
    for problem, by in outputs.restored[seed].items():
        rival = outputs.rival(problem)
        for method, results in by.items():
            name = f"{problem} by {method}"
            psnr, single = (
                (None, None)
                if results.exact
                else (measures.decibels(results.error), measures.decibels(results.single)[0])
            )
            numbers = {
                "psnr": psnr,
                "single": single,
                "read": measures.share(results.right),
                "residual": _rms(results.residual),
            }
            yield Measured(name, numbers, seed, n, group="restored", arrays={"outputs": outputs})
            if seed is not None:
                over = {
                    "read over rival": measures.share(results.right - rival.right),
                    "gain": measures.gain(results.error, rival.error),
                }
                if method == "DPS":
                    over["gain over PiGDM"] = measures.gain(results.single, by["PiGDM"].single)
                yield Measured(name, over, seed, n)


def scales_tried(outputs: Outputs, seed: int) -> Iterator[Measured]:
    """What DPS of one seed restores of training digits, by scale."""
    for problem in outputs.problems:
        tried = outputs.tried[seed, problem]
        for scale, error in tried.items():
            numbers = {"psnr": measures.decibels(error), "chosen": "yes" if scale == scales.best(tried) else ""}
            yield Measured(f"{problem}, scale {scale:g}", numbers, seed, len(error), group="scales")


def edited(outputs: Outputs, seed: int) -> Iterator[Measured]:
    """Round trips and edits of one seed."""
    edits, n = outputs.edited[seed], len(outputs.truth)
    yield Measured(DDIM, {"slope": measures.slope(edits.trips)}, seed, n)
    yield Measured(REVERSIBLE, {"extreme": float(np.sqrt(edits.reversible.max()))}, seed, n)
    missed = measures.times(edits.fresh, edits.trips[max(edits.trips)])
    yield Measured(FRESH, {"times": missed, "extreme": float(np.sqrt(edits.fresh.min()))}, seed, n)
    for name, distances in ((EDIT, edits.own), (EDIT_OTHER, edits.others)):
        rank = measures.rank_correlation(tuple(distances), np.stack(list(distances.values())))
        yield Measured(name, {"rank": rank}, seed, n)
    trips = {f"DDIM, {steps} steps and back": error for steps, error in edits.trips.items()} | {
        REVERSIBLE: edits.reversible,
        FRESH: edits.fresh,
    }
    trips |= {f"img2img of strength {strength:g}": error for strength, error in edits.own.items()}
    yield from (Measured(name, {"distance": _rms(error)}, seed, n, group="distances") for name, error in trips.items())


def _rivals(problem: Problem, examine: Examiner, split: digits.Split) -> dict[str, Restoration]:
    """What learned no digits first, then the training digit that is measured most alike, then the digits themselves."""
    known = editing_problems.nearest(problem, split.train_images)
    return examine(
        problem,
        {problem.rival_name: [problem.rival], "nearest training digit": [known], "the digit itself": [examine.truth]},
    )


def _restored(
    config: Config,
    problem: Problem,
    programs: EditingPrograms,
    examine: Examiner,
    params: Params,
    blank: Params,
    scale: float,
) -> dict[str, Restoration]:
    """By every method that fits, by an untrained network, and from the measurements of other digits. scale: of DPS."""
    samples = range(1 if problem.mask is not None else config.posterior_samples)
    others = np.roll(problem.measured, 1, axis=0)  # held-out digits come in random order
    restored = {"PiGDM": [programs.restore("PiGDM", params, problem, sample=sample) for sample in samples]}
    for method in ("DPS", "RePaint", ONCE) if problem.mask is not None else ("DPS",):
        restored[method] = [programs.restore(method, params, problem, scale=scale)]
    restored[SMALLEST] = [programs.restore("DPS", params, problem, scale=min(config.dps_scales))]
    restored[UNTRAINED] = [programs.restore("PiGDM", blank, problem)]
    restored[SHUFFLED] = [programs.restore("PiGDM", params, problem, measured=others)]
    return examine(problem, restored)


def _edited(config: Config, programs: EditingPrograms, params: Params, truth: np.ndarray) -> Edited:
    square_error = measures.square_error
    trips, fresh = programs.round_trips(params, truth)
    images = {strength: programs.edit(params, truth, strength) for strength in config.strengths}
    return Edited(
        trips={steps: square_error(back, truth) for steps, back in trips.items()},
        fresh=square_error(fresh, truth),
        reversible=square_error(programs.reversible_trip(params, truth), truth),
        own={strength: square_error(edit, truth) for strength, edit in images.items()},
        others={strength: square_error(edit, np.roll(truth, 1, axis=0)) for strength, edit in images.items()},
        images=images,
    )


def plots(config: Config, folder: RunFolder, tables: Sequence[Table]) -> tuple[Figure, ...]:
    """PSNR of every method of the first seed."""
    first, by_problem = config.seeds[0], dict[str, dict[str, Any]]()
    lines: tuple[Any, ...] = next(table.rows for table in tables if table.title.startswith("What is restored"))
    for name, seed, psnr, *_ in lines:
        problem, method = name.split(" by ", 1)
        if seed in (None, first) and psnr is not None:
            by_problem.setdefault(problem, {})[f"{problem}: {method}"] = psnr
    numbers = {name: psnr for values in by_problem.values() for name, psnr in values.items()}
    caption = f"PSNR over all digits, of hidden pixels only where there are some; seed {first}, 95 % intervals."
    return (figures.bars(numbers, folder.figure("psnr"), caption, x_label="PSNR in dB"),)


def psnr(measured: Measurements, folder: RunFolder) -> Figure:
    """As `plots` draws it again."""
    return plots(measured[0].arrays["outputs"].config, folder, tuple(STUDY.show(measured)))[0]


def restorations(name: str, measured: Measurements, folder: RunFolder) -> Figure:
    """Of one problem, one digit per column."""
    outputs: Outputs = measured[0].arrays["outputs"]
    chosen = outputs.pictures["chosen"]
    problem, by = outputs.problems[name], outputs.restored[outputs.config.seeds[0]][name]
    panels = {
        "the digit": outputs.truth,
        "what is measured": problem.picture,
        problem.rival_name: outputs.rival(name).first,
    }
    panels |= {method: by[method].first for method in ("RePaint", "PiGDM", "DPS") if method in by}
    rows, file = (
        {method: images[chosen] for method, images in panels.items()},
        name.replace(" ", "_").replace("-", "_"),
    )
    caption = f"{name.capitalize()}, one row each: {', '.join(panels)}. One sample each, not selected."
    return figures.named_rows(rows, folder.figure(file), caption)


def strengths(measured: Measurements, folder: RunFolder) -> Figure:
    """img2img by strength."""
    outputs: Outputs = measured[0].arrays["outputs"]
    chosen = outputs.pictures["chosen"]
    edits = outputs.edited[outputs.config.seeds[0]].images
    rows = {f"{strength:g}": images[chosen] for strength, images in edits.items()}
    caption = f"img2img without a label, one strength per row: {', '.join(rows)}."
    return figures.named_rows(rows, folder.figure("strengths"), caption)


def between(measured: Measurements, folder: RunFolder) -> Figure:
    """The way from digit to digit, one pair per row."""
    images = measured[0].arrays["outputs"].pictures["between"]
    caption = "From one held-out digit (left) to another (right), by slerp between their noises under reversible Heun."
    return figures.grid(np.concatenate(images.swapaxes(0, 1)), len(images), folder.figure("between"), caption)


def round_trips(measured: Measurements, folder: RunFolder) -> Figure:
    """Of every seed."""
    edits = measured[0].arrays["outputs"].edited
    errors = {seed: np.sqrt([each.mean() for each in outcome.trips.values()]) for seed, outcome in edits.items()}
    curves = [figures.Curve(f"seed {seed}", np.array(list(edits[seed].trips)), error) for seed, error in errors.items()]
    options: Any = {"x_label": "steps there, and as many back", "y_label": "rms error", "log_x": True, "log_y": True}
    caption = "DDIM inversion and back: root mean square error of the digits against the number of steps."
    return figures.curves(curves, folder.figure("round_trip"), caption, **options)


def _rms(square: np.ndarray) -> float:
    return float(f"{np.sqrt(square.mean()):.4g}")


_FEW: dict[str, Any] = {
    "digits": 20,
    "guided_steps": 3,
    "posterior_samples": 2,
    "dps_scales": (5.0, 20.0),
    "scale_digits": 20,
    "repaint_steps": 4,
    "resamples": 2,
    "jump": 2,
}
_FEW |= {"round_trips": (2, 4), "reversible_steps": 4, "strengths": (0.0, 0.5, 1.0), "edit_steps": 4}

ANSWER = Answer(
    text="in part: after DPS, its scale chosen on training digits, {super-resolution-by-dps-read:.0%} of half-size "
    "digits are read right and {lower-half-by-dps-read:.0%} of those whose lower half was hidden",
    picture="super_resolution.png",
    before=(
        Change(
            "2026-11-30",
            "9fdd4e3",
            "The mean over seeds is judged, not every seed: super-resolution by PiGDM went from open to PASS.",
            "The rule must not depend on the number of seeds. No number changed.",
        ),
        Change(
            "2026-11-30",
            "6436e2eb",
            "An untrained network and other digits' data are compared with PiGDM, fresh noise with reversible Heun, "
            "and another digit with its own; they had the thresholds of the claims. That RePaint keeps what it must is "
            "a test.",
            "A control is compared with its treatment, and what is exact is a test.",
        ),
        Change(
            "2026-11-30",
            "80355e3a",
            "An earlier run had DPS at scale 5, AdamW, a fifth of labels dropped, and RePaint of 50 steps with 5 "
            "resamples: the judge read 0.60 of half-size digits by DPS (12.5 dB), 0.65 without a lower half, and 0.72 "
            "of blurred ones (13.5 dB). Now training digits choose the scale, Muon trains nearly without labels, and "
            "RePaint has 64 steps with 10 resamples. Three aims and five controls are new; no threshold changed.",
            "Scale 5 left the measurements unmet: in a pilot, on training digits that its network had not learned, DPS "
            "restored half-size digits to 12.0 dB at scale 5 and to 16.2 dB at scale 40.",
        ),
    ),
)

STUDY = Study(
    name="editing",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), **image_training.SMOKE, **_FEW),
    train=image_training.per_seed(model),
    measure=measure,
    words={
        "psnr": "PSNR",
        "single": "PSNR of one sample",
        "read": "judge",
        "residual": "rms of y - A x",
        "read over rival": "the judge's accuracy, less that on the rival",
        "gain": "dB above the rival",
        "gain over PiGDM": "dB of one sample above that of PiGDM",
        "chosen": "chosen",
        "slope": "slope of log error on log steps",
        "extreme": "largest error of a digit; of fresh noise the least",
        "times": "error in DDIM round trips",
        "rank": "rank correlation of strength and distance",
    },
    claims=claims.CLAIMS,
    controls=claims.CONTROLS,
    figures=(*(functools.partial(restorations, problem) for problem in RIVALS), strengths, between, psnr, round_trips),
    tables={
        "restored": (
            "What is restored, in dB of the mean square error over all digits, and how often the judge reads it right",
            "",
        ),
        "": ("Compared with rivals, and round trips", ""),
        "scales": (
            "Scales of DPS, tried on training digits",
            "The least error chooses, by seed and problem, before a held-out digit is restored.",
        ),
        "distances": ("Root mean square distance to the digit", ""),
    },
    answer=ANSWER,
    more={"plots": plots, "sample": image_sampling.command(model), "check": image_training.check},
)
EXPERIMENT = STUDY.experiment()
