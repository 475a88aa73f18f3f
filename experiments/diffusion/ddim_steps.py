"""Does DDIM in 20-50 steps lose quality against 1,000 steps, and what do the best few-step samplers add?

    python -m experiments run ddim-steps

trains one small network per seed on DDPM's own process (1,000 levels, linear variances, noise prediction) and draws the
same 2,500 samples, that is the same labels and the same x_T, by DDPM and DDIM in 1,000 to 5 steps, and by samplers made
for few steps.

The network is smaller than that of `digits` because of the budget: 38 million evaluations of it take 36 minutes on 2
idle cores, and all else 13. Finished sets are kept in the folder `samples` of the run, and a run that was
interrupted goes on with the next one; delete the folder when the results are written.
"""

import functools
import hashlib
import io
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import msgspec
import numpy as np

from experiments.diffusion import equivalence, image_draws, image_judge
from experiments.diffusion.image_draws import Draws, Grid
from experiments.diffusion.image_judge import DigitsJudge
from gendiff.commands.images import image_sampling, image_training
from gendiff.commands.images.image_model import Model
from gendiff.core import npz, trees
from gendiff.core.types import Params
from gendiff.diffusion import grids, parameterization, samplers, schedules
from gendiff.diffusion.sampling import Sampler
from gendiff.runs import ranges
from gendiff.runs.dtypes import WithDtype
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Distinct, Seed, Several
from gendiff.runs.reporting import figures, intervals, json_files, verdicts
from gendiff.runs.reporting.answers import Answer, Cell, Change
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control

MOST = 1000
"""Steps of the chains that all others are held against."""
EQUIVALENT = (20, 50)
"""Steps of DDIM that are claimed to lose nothing."""
FAST = 50
"""Steps of DDIM whose time is held against that of DDPM in all steps."""
MARGIN = 0.1
"""Largest relative difference of two Fréchet distances that still counts as none."""
JUDGED = ("frechet", "accuracy", "precision", "recall")
ALL_TIME, DDIM_TIME, DDPM_TIME = (
    "time of DDPM in all steps",
    f"time of DDIM in {FAST} steps",
    f"time of DDPM in {FAST} steps",
)
SHOWN = (5, 10, 20, 50, 1000)
"""Steps of the rows of the picture, as far as they were drawn."""
GRIDS: dict[str, Grid] = {"trailing": grids.trailing, "log_snr": grids.log_snr, "karras": grids.karras}


@dataclass(frozen=True)
class DrawMethod:
    """A sampler and the grid that it runs on, which was chosen before the run."""

    name: str
    sampler: Sampler
    grid: str

    def steps_within(self, budget: int) -> int:
        """The most steps that cost at most `budget` evaluations of the network per sample."""
        return max(steps for steps in range(1, budget + 1) if self.sampler.evaluations(steps) <= budget)


DDPM, DDIM = DrawMethod("DDPM", samplers.ddpm(), "trailing"), DrawMethod("DDIM", samplers.ddim(), "trailing")
"""On the grid that starts at the last level of training; it has 1,000 levels at 1,000 steps."""
FEW = {
    method.name: method
    for method in (
        DDIM,
        DrawMethod("DPM-Solver++ 2M", samplers.dpm_solver_multistep(2), "log_snr"),
        DrawMethod("DPM-Solver++ 3M", samplers.dpm_solver_multistep(3), "log_snr"),
        DrawMethod("UniPC 2", samplers.unipc(2), "log_snr"),
        DrawMethod("DEIS 3", samplers.deis(3), "trailing"),
        DrawMethod("Heun", samplers.heun(), "karras"),
    )
}
"""Samplers of few steps, on the grid of their own papers: even in log-SNR (Lu et al., 2022), in time, and Karras et
al.'s for Heun.
"""


@dataclass(frozen=True)
class Config(image_training.JudgedLearning, WithDtype):
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2, 3, 4)
    """Seeds of training; each trains a network of its own."""
    samples: image_training.Balanced = 2500
    """Samples of each set, class-balanced."""
    train_steps: Count = 1600
    """Optimizer steps."""
    levels: Annotated[int, msgspec.Meta(ge=2, le=100_000)] = MOST
    """Levels of the process, with DDPM's linear variances."""
    steps: Distinct[Count] = (MOST, 250, 100, 50, 20, 10, 5)
    """Steps of DDPM and DDIM; the most are what all others are held against."""
    few: Distinct[str] = tuple(FEW)
    """Samplers of few steps."""
    budgets: Distinct[Count] = (5, 10, 20)
    """Most evaluations of the samplers of few steps."""
    resamples: Several = 400
    """Bootstrap resamples of each equivalence test."""
    pairs: Several = 7
    """Interleaved timings of `together` samples by each of the methods that are timed."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    image_training.check(config)
    ranges.known("few", config.few, FEW)
    for steps in config.steps:
        ranges.at_most("steps", steps, "levels", config.levels)
    for needed in (*EQUIVALENT, FAST):
        ranges.among("steps", needed, "steps", config.steps)
    most = max(config.steps)
    for budget in config.budgets:
        ranges.at_most("budgets", budget, "steps, the most of which is", most)


def model(config: Config) -> Model:
    """The network of the digits experiment in this size, on DDPM's process."""
    return image_training.unet(config, schedules.linear(config.levels), parameterization.noise(), dtype=config.dtype)


@dataclass(frozen=True)
class Set:
    """Samples 0, 1, … of one seed's network by one method in `steps` steps."""

    seed: int
    method: DrawMethod
    steps: int

    @property
    def evaluations(self) -> int:
        return self.method.sampler.evaluations(self.steps)

    @property
    def name(self) -> str:
        return f"{self.method.name}, {self.steps} steps"


def sets(config: Config, seed: int) -> list[Set]:
    """Every set of one seed: the two chains at each number of steps, and the samplers of few steps at each budget, none
    twice.
    """
    chains = [Set(seed, method, steps) for method in (DDIM, DDPM) for steps in config.steps]
    few = [Set(seed, FEW[name], FEW[name].steps_within(budget)) for name in config.few for budget in config.budgets]
    return list(dict.fromkeys([*chains, *few]))


class MethodDraws:
    """Draws of one model, one compiled program per method. It serves every number of steps and every seed's
    parameters.
    """

    def __init__(self, config: Config, model: Model, progress: Progress) -> None:
        self._config, self._model, self._progress = config, model, progress
        self._draws: dict[str, Draws] = {}

    def draw(self, title: str, params: Params, method: DrawMethod, steps: int, count: int) -> tuple[np.ndarray, float]:
        """(count, h, w, c) images, and the seconds that they took without compiling."""
        if method.name not in self._draws:
            together, most = (
                self._config.together,
                max(self._config.steps if method in (DDIM, DDPM) else self._config.budgets),
            )
            draws = Draws(self._model, most, together, self._progress, sampler=method.sampler, grid=GRIDS[method.grid])
            draws(f"compile {method.name}", params, together, steps=1)
            self._draws[method.name] = draws
        begin = time.perf_counter()
        images = self._draws[method.name](title, params, count, steps=steps)
        return images, time.perf_counter() - begin


def stored(
    config: Config, programs: MethodDraws, folder: RunFolder, each: Set, params: Params
) -> tuple[np.ndarray, float]:
    """The images of a set, and the seconds that `together` of them took.

    They lie in the folder `samples` of the run under what made them: parameters, method, steps and counts. A set that
    lies there is read, not drawn again. The folder may be deleted, and is no part of the results.
    """
    method, digest = each.method, hashlib.sha256()
    for path, leaf in trees.paths(jax.device_get(params)).items():
        digest.update(f"{path} {leaf.dtype} {leaf.shape}".encode() + leaf.tobytes())
    chosen = (method.name, method.grid, each.steps, max(config.steps), config.samples, config.together)
    digest.update(json.dumps(chosen).encode())
    title = "".join(letter if letter.isalnum() else "_" for letter in f"seed {each.seed}, {each.name}")
    file = folder.path / "samples" / f"{title}_{digest.hexdigest()[:16]}.npz"
    if not file.exists():
        images, seconds = programs.draw(f"seed {each.seed}, {each.name}", params, method, each.steps, config.samples)
        content = io.BytesIO()
        np.savez(content, images=images, seconds=seconds / -(-len(images) // config.together))
        file.parent.mkdir(exist_ok=True)
        json_files.write_bytes(file, content.getvalue())
    content_of = npz.guarded(file, lambda: npz.read(file, ["images", "seconds"]))
    return content_of["images"], float(content_of["seconds"])


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Every set of every seed, differences between sets, and seconds, from the checkpoints of the folder and the sets
    that it has.
    """
    network, digits_judge = model(config), DigitsJudge(config.draws, config.draw_size)
    programs = MethodDraws(config, network, progress)
    params = {seed: image_training.averaged(network, folder, seed) for seed in config.seeds}
    for seed in config.seeds:
        with progress.phase("sample", seed=seed):
            samples = {each: stored(config, programs, folder, each, params[seed]) for each in sets(config, seed)}
        with progress.phase("judge", seed=seed), progress.task(f"judge seed {seed}", len(samples)) as task:
            for done, (each, (images, seconds)) in enumerate(samples.items(), 1):
                judged = digits_judge.measure(images, image_draws.labels(len(images), network.num_classes)).measures
                measures: dict[str, Any] = {
                    "grid": each.method.grid,
                    "steps": each.steps,
                    "evaluations": each.evaluations,
                }
                measures |= {name: judged[name] for name in JUDGED} | {"seconds": round(seconds, 3)}
                yield Measured(each.name, measures, seed, len(images), arrays={"images": images[:10]})
                task.update(done)
        with progress.phase("equivalence", seed=seed):
            yield from compare(
                config,
                seed,
                {each: images for each, (images, _) in samples.items()},
                digits_judge.split.held_out_images,
            )
    with progress.phase("time"):
        yield from speed(config, programs, params[config.seeds[0]])


def compare(config: Config, seed: int, samples: Mapping[Set, np.ndarray], held_out: np.ndarray) -> Iterator[Measured]:
    """Relative differences of Fréchet distances, paired by sample, with 90 % intervals: two one-sided tests at 0.05."""
    ddim, ddpm = (Set(seed, method, max(config.steps)) for method in (DDIM, DDPM))
    few = [Set(seed, DDIM, steps) for steps in (*EQUIVALENT, 250, 5) if steps in config.steps]
    pairs = [
        *((each, ddim, "of itself") for each in few),
        *((Set(seed, DDIM, steps), ddpm, "of DDPM") for steps in EQUIVALENT),
    ]
    pairs.append((Set(seed, DDPM, 20), ddpm, "of itself"))
    compared = dict.fromkeys(each for *pair, _ in pairs for each in pair)
    distances = equivalence.of_digits({each: samples[each] for each in compared}, held_out, resamples=config.resamples)
    for one, many, label in pairs:
        difference = equivalence.difference(distances[one], distances[many])
        measures = {f"difference {label}": difference, f"size {label}": verdicts.away(difference)}
        yield Measured(one.name, measures, seed, config.samples, group="differences")


def speed(config: Config, programs: MethodDraws, params: Params) -> Iterator[Measured]:
    """Wall-clock of `together` samples by DDPM in all steps and in as few as DDIM, each against DDIM in few steps."""
    timed = ((DDPM, max(config.steps)), (DDIM, FAST), (DDPM, FAST))
    seconds: dict[tuple[DrawMethod, int], list[float]] = {each: [] for each in timed}
    for pair in range(config.pairs):
        for method, steps in timed:
            title = f"time {method.name} in {steps} steps, {pair + 1} of {config.pairs}"
            seconds[method, steps].append(programs.draw(title, params, method, steps, config.together)[1])
    for name, each in zip((ALL_TIME, DDIM_TIME, DDPM_TIME), timed, strict=True):
        timings = seconds[each]
        times = intervals.interval(
            lambda one, other: float(np.median(one) / np.median(other)), timings, seconds[DDIM, FAST], paired=True
        )
        measures: dict[str, Any] = {
            "times": times,
            "median": float(np.median(timings)),
            "least": min(timings),
            "largest": max(timings),
        }
        yield Measured(name, measures, n=config.pairs, group="seconds")


def plots(config: Config, folder: RunFolder, tables: Sequence[Table]) -> list[Figure]:
    """Fréchet distance in floors against evaluations: the two chains, and the samplers of few steps."""
    values: dict[str, dict[int, list[float]]] = {}
    rows: tuple[Any, ...] = tables[0].rows
    for name, _, _, _, evaluations, frechet, *_ in rows:
        method = name.rsplit(", ", 1)[0]
        values.setdefault(method, {}).setdefault(evaluations, []).append(frechet[0])
    all_steps = max(values[DDIM.name])
    few = [name for name in FEW if name in values]
    most = max((max(values[name]) for name in few if name != DDIM.name), default=20)
    level = np.full(2, np.mean(values[DDIM.name][all_steps]))
    name = f"DDIM in {all_steps:,} steps ± {100 * MARGIN:g} %"
    labels: dict[str, Any] = {
        "x_label": "evaluations of the network per sample",
        "y_label": "Fréchet distance, in floors",
    }

    def plot(file: str, caption: str, methods: list[str], most: float) -> Figure:
        curves = []
        for method in methods:
            counts = sorted(count for count in values[method] if count <= most)
            means, least, largest = (
                [reduce(values[method][count]) for count in counts] for reduce in (np.mean, min, max)
            )
            curves.append(figures.Curve(method, counts, means, least, largest))
        all_counts = [count for method in methods for count in values[method] if count <= most]
        ends = [min(all_counts), max(all_counts)]
        curves.append(figures.Curve(name, ends, level, level * (1 - MARGIN), level * (1 + MARGIN), reference=True))
        return figures.curves(curves, folder.figure(file), caption, log_x=True, log_y=True, **labels)

    of_chains = "Fréchet distance of DDPM and DDIM against evaluations; bands reach from the least to the largest seed."
    of_few = "The same for samplers made for few steps, each at most at its budget of evaluations."
    return [plot("steps", of_chains, [DDPM.name, DDIM.name], all_steps), plot("few_steps", of_few, few, most)]


def again(number: int, measured: Measurements, folder: RunFolder) -> Figure:
    """As `plots` draws it again."""
    return plots(Config(), folder, tuple(STUDY.show(measured)))[number]


def same_samples(measured: Measurements, folder: RunFolder) -> Figure:
    """Samples 0 … 9 of the first seed by DDIM, one number of steps per row."""
    names = {steps: f"{DDIM.name}, {steps} steps" for steps in SHOWN}
    images = {
        steps: next((each.arrays["images"] for each in measured if each.name == name), None)
        for steps, name in names.items()
    }
    panels = {steps: samples for steps, samples in images.items() if samples is not None}
    caption = (
        "The same ten samples by DDIM, one row for each number of steps: "
        f"{', '.join(f'{steps:,}' for steps in panels)}."
    )
    rows = [f"{steps:,} steps" for steps in panels]
    return figures.grid(np.concatenate(list(panels.values())), 10, folder.figure("same_samples"), caption, rows=rows)


ANSWER = Answer(
    text="in part: in 50 steps the Fréchet distance is {ddim-50-equivalent:.0%} above that in 1,000, in 20 steps "
    "{ddim-20-equivalent:.0%} (10 % allowed)",
    statements={
        "E4": "DDPM's samples are {ddpm-1000:.2f interval} times real digits' distance away in 1,000 steps, "
        "{ddpm-250:.2f} in 250, which are enough here, and {ddpm-20:.2f} in 20; "
        "20 steps are {ddpm-20-different:.0%} worse than 1,000",
        "E5": "DDIM's Fréchet distance in 50 steps is {ddim-50-equivalent:.0% interval} above that in 1,000, in 20 "
        "steps {ddim-20-equivalent:.0%} (10 % allowed)",
    },
    numbers={
        "ddpm-1000": Cell("Every set of", ("DDPM, 1000 steps",), image_judge.WORDS["frechet"]),
        "ddpm-250": Cell("Every set of", ("DDPM, 250 steps",), image_judge.WORDS["frechet"]),
        "ddpm-20": Cell("Every set of", ("DDPM, 20 steps",), image_judge.WORDS["frechet"]),
    },
    picture="steps.png",
    before=(
        Change(
            "2026-11-30",
            "9fdd4e3",
            "The mean over seeds is judged, not every seed: DDIM in 20 steps went from FAIL to open.",
            "The rule must not depend on the number of seeds. No number changed.",
        ),
        Change(
            "2026-11-30",
            "cf4f8085",
            "That DDPM in 20 steps is worse is a claim of the essay, and no control. DDIM in 250 and in 5 steps, and "
            "DDPM in as few steps as DDIM, are compared with DDIM and with DDPM in all steps; they had the thresholds "
            "of the claims.",
            "A control is compared with its treatment.",
        ),
        Change(
            "2026-12-01",
            "a6d0749",
            "The run at this commit, of three seeds with 5,000 samples each: DDIM in 50 steps 0.036 [−0.011, 0.083] "
            "above 1,000 steps, in 20 steps 0.170 [0.099, 0.244]; against DDPM 0.090 [−0.008, 0.206] and 0.223 "
            "[0.051, 0.409]. Now five seeds have 2,500 samples each. Recipe and thresholds are unchanged.",
            "Networks differ by more than samples do, so that three of them left three of five claims open. No recipe "
            "of training-recipes is about predicting noise on a table.",
        ),
    ),
)

_ABOUT = "relative difference of Fréchet distances, 90 % interval (two one-sided tests at 0.05)"
_FEW: dict[str, Any] = {"samples": 80, "together": 40, "draws": 3, "draw_size": 60, "resamples": 5, "pairs": 2}
_NAME = "DDIM, {} steps"

STUDY = Study(
    name="ddim-steps",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        seeds=(0,),
        **image_training.SMOKE,
        **_FEW,
        levels=260,
        steps=(260, 250, 50, 20, 5),
        few=("DDIM", "Heun"),
        budgets=(2, 5),
    ),
    train=image_training.per_seed(model),
    measure=measure,
    words=image_judge.WORDS
    | {
        "evaluations": "evaluations",
        "steps": "steps",
        "seconds": "seconds for `together` samples",
        "difference of itself": "(F - F in all steps) / F in all steps",
        "size of itself": "size of that difference",
        "difference of DDPM": "(F - F of DDPM in all steps) / F of DDPM in all steps",
        "size of DDPM": "size of that difference from DDPM",
        "times": "median seconds, in those of DDIM in 50 steps",
    },
    claims=(
        *(
            claim(
                _NAME.format(steps),
                f"size {reference}",
                "<=",
                MARGIN,
                role="E5",
                reason="a tenth is less than the seeds differ by",
                statement=f"DDIM, {steps} against {words}1,000 steps: {_ABOUT}",
                id=f"ddim-{steps}-equivalent{suffix}",
                figure="steps.png",
            )
            for reference, words, suffix in (("of itself", "", ""), ("of DDPM", "DDPM in ", "-to-ddpm"))
            for steps in EQUIVALENT
        ),
        claim(
            "DDPM, 20 steps",
            "difference of itself",
            ">=",
            MARGIN,
            role="E4",
            reason="less than a tenth counts as none",
            statement=f"DDPM, 20 against 1,000 steps: {_ABOUT}",
            id="ddpm-20-different",
            figure="steps.png",
        ),
        claim(
            ALL_TIME,
            "times",
            ">=",
            15.0,
            role="aim",
            reason="by evaluations of the network it is 20",
            statement="DDPM in 1,000 steps over DDIM in 50 steps, median seconds",
            id="speedup",
        ),
    ),
    controls=(
        control(_NAME.format(250), "size of itself", against=_NAME.format(20), by="<=", id="ddim-250-equivalent"),
        control(
            _NAME.format(5), "size of itself", against=_NAME.format(50), by=">=", margin=0.5, id="ddim-5-different"
        ),
        control(DDPM_TIME, "times", against=ALL_TIME, by="<=", margin=-10.0, id="speedup-not-of-ddim"),
    ),
    figures=(functools.partial(again, 0), functools.partial(again, 1), same_samples),
    tables={
        "": ("Every set of samples against the held-out digits", ""),
        "differences": ("Fréchet distances compared, paired by sample, 90 % intervals", ""),
        "seconds": ("Seconds of one call, timed in turn", ""),
    },
    answer=ANSWER,
    more={"plots": plots, "sample": image_sampling.command(model), "check": check},
)
EXPERIMENT = STUDY.experiment()
