"""Races to equal quality: the least seconds to samples whose Fréchet distance is that of DDIM in 50 steps, or near it.

Both sides draw with the same trained weights from the same noise. Each tries every method that it offers, with more and
more evaluations, until the distance of one is near enough. The nearest of those with so few evaluations is judged again
on other noise, and timed.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.bench import duel, findings, weights
from experiments.bench.config import Config, Setting
from experiments.bench.duel import OURS
from experiments.bench.findings import Findings, Limit, Ratio
from experiments.bench.race_draws import SCHEDULERS
from experiments.bench.side import SideError, SideProcess
from experiments.bench.workloads import MODES, Case, Workload, normal
from experiments.diffusion import digits as digits_experiment
from experiments.diffusion import equivalence, few_evaluations, image_draws, latent
from experiments.diffusion.few_step import draws
from experiments.diffusion.latent import networks
from gendiff.commands.images import emoji_pictures, image_coding, image_features, image_training
from gendiff.commands.images.feature_options import FeatureOptions
from gendiff.core.types import Params
from gendiff.data import digits as digits_data
from gendiff.metrics import features, frechet
from gendiff.runs import paired_timing, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.reporting.results import CellValue, Table
from gendiff.runs.run_folder import RunFolder

TRAINED = 1500
"""Optimizer steps of the network of latents. Both sides draw with it, and neither is held against the data alone."""
STEPS = (3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 25, 32, 40, 50)
"""Numbers of steps that are tried, until one is enough for a method."""
SIDES = {OURS: (OURS, tuple(draws.FIXED)), "diffusers": ("torch", tuple(SCHEDULERS))}
"""By name, the side and its methods; the first is the reference."""


class Choice(NamedTuple):
    """A method in so many steps. excess: its Fréchet distance over that of the reference, less 1, on the noise it was
    chosen by.
    """

    method: str
    steps: int
    excess: float

    @property
    def evaluations(self) -> int:
        """Of the network per digit; Heun's method has two per step but the last."""
        return 2 * self.steps - 1 if "Heun" in self.method else self.steps


def measure(make: "Make", case: Case, setting: Setting) -> Findings:
    """Ratio of the times of the two choices, the reference of both compared first."""
    assert isinstance(setting.config, Config)
    folder, workload, tiny, near = (
        setting.case_folder(case.name),
        setting.fitted(case.workload),
        setting.config.tiny,
        setting.config.thresholds.near,
    )
    course, count = make(workload, folder, tiny), 20 if tiny else workload.batch
    tried, most = (STEPS[:2], 4) if tiny else (STEPS, workload.steps)

    def arguments(count: int, number: int) -> dict[str, Any]:
        return duel.request(workload, noise(workload, count, number), folder, f"noise_{number}", course.weights) | dict(
            course.options
        )

    def ready(side: SideProcess, name: str, noise: dict[str, Any], method: str, steps: int, **more: str) -> None:
        side.ask(
            "prepare", name=name, method=method, **noise | more | {"workload": noise["workload"] | {"steps": steps}}
        )

    chosen_by, judged_by = (arguments(count, number) for number in (0, 1))
    rows, limits, best, references = list[tuple[CellValue, ...]](), list[Limit](), dict[str, Choice](), list[Path]()
    for name, (kind, methods) in SIDES.items() if setting.peer is not None else [(OURS, SIDES[OURS])]:
        with setting.start(kind) as side:

            def draw(
                noise: dict[str, Any], method: str, steps: int, side: SideProcess = side, name: str = name
            ) -> tuple[Path, float]:
                """(the file of what a side draws, its Fréchet distance)."""
                file = folder / f"{name}_{method}_{steps}_{Path(noise['arrays']).stem}.npz".replace(" ", "_")
                ready(side, file.stem, noise, method, steps, to=str(file))
                with np.load(file) as stored:
                    return file, course.distance(stored["output"])

            file, reference = draw(chosen_by, methods[0], most)
            winner, *others = ranked(functools.partial(draw, chosen_by), reference, methods, tried, near)
            excess = draw(judged_by, winner.method, winner.steps)[1] / draw(judged_by, methods[0], most)[1] - 1
        references.append(file)
        best[name] = winner
        rows += [
            (name, winner.method, winner.evaluations, winner.excess, excess),
            *((name, each.method, each.evaluations, each.excess, None) for each in others),
        ]
        what = (
            f"{name}, {winner.method}, {winner.evaluations} evaluations: excess of the Fréchet distance on other noise"
        )
        limits.append(Limit(f"{case.name}_{name}", what, excess, "near"))
    title = (
        f"{case.name}: excess of the Fréchet distance over that of DDIM in {most} steps; evaluations grow until one "
        f"method is within {near:.0%}"
    )
    columns = ("side", "method", "evaluations", "excess on the noise it was chosen by", "on other noise")
    table = Table(title, columns, tuple(rows))
    if setting.peer is None:
        return Findings(limits=tuple(limits), tables=(table,))
    difference, few = duel.difference(*references), arguments(min(course.timed, count), 2)
    agrees = Limit(
        f"{case.name}_agrees",
        f"{case.name}: DDIM in {most} steps of both sides differs by",
        difference,
        course.agreement,
    )
    with setting.start(OURS) as mine, setting.start("torch") as peer:
        ready(mine, OURS, few, best[OURS].method, best[OURS].steps)
        before = dict[str, float]()
        for mode in ("eager",) if tiny else (mode for mode in MODES if mode != "static_cache"):
            try:
                ready(peer, mode, few, best["diffusers"].method, best["diffusers"].steps, mode=mode)
            except SideError:
                continue  # a mode that fails is none to race with; the table of times tells who took part
            before[mode] = min(peer.ask("run", name=mode) for _ in range(2))
        mode = min(before, key=lambda mode: before[mode])

        def call(side: SideProcess, other: SideProcess, name: str) -> float:
            other.settle()
            return float(side.ask("run", name=name))

        calls = {OURS: functools.partial(call, mine, peer, OURS), mode: functools.partial(call, peer, mine, mode)}
        seconds = paired_timing.interleave(calls, setting.pairs(case))
    times: list[tuple[CellValue, ...]] = [
        (OURS, *findings.spread(seconds[OURS])),
        (f"diffusers, {mode}", *findings.spread(seconds[mode])),
    ]
    times += [(f"diffusers, {name}, before the pairs", spent, None, None) for name, spent in before.items()]
    spent = Table(
        f"{case.name}: seconds to {min(course.timed, count):,} samples",
        ("side", "median", "least", "most"),
        tuple(times),
    )
    statement, value = (
        f"{case.name}: time of diffusers ({mode}) to samples of equal quality over ours",
        duel.ratio(seconds[mode], seconds[OURS]),
    )
    ratio = Ratio(case.name, statement, value, setting.pairs(case), case.threshold)
    return Findings(ratios=(ratio,), limits=(agrees, *limits), tables=(table, spent))


def ranked(
    draw: Callable[[str, int], tuple[Path, float]],
    reference: float,
    methods: Sequence[str],
    tried: Sequence[int],
    near: float,
) -> list[Choice]:
    """The last choice of each method, the nearest first. Evaluations grow until a method is near enough.

    draw: (method, steps) -> (a file, its Fréchet distance, which may be NaN). reference: the distance of the reference.
    """
    candidates = [Choice(method, steps, math.nan) for method in methods for steps in tried]
    candidates.sort(key=lambda choice: choice.evaluations)
    last = dict[str, Choice]()
    for _, group in itertools.groupby(candidates, lambda choice: choice.evaluations):
        last |= {each.method: each._replace(excess=draw(each.method, each.steps)[1] / reference - 1) for each in group}
        if any(each.excess <= near for each in last.values()):
            break
    return sorted(last.values(), key=lambda each: (math.isnan(each.excess), each.excess))


def noise(workload: Workload, count: int, number: int) -> dict[str, np.ndarray]:
    """So many noises and labels, as many of each class. number: of the seed."""
    label = image_draws.labels(count, workload.architecture.num_classes or 1)
    return {"noise": normal(np.random.default_rng(number), count, *workload.shape), "label": label}


@dataclass(frozen=True)
class Course:
    """What both sides are given, and how near to held-out pictures is what they draw.

    weights: the folder of the network. options: of `race_draws.ours` and `theirs`; together: drawn in one call.
    timed: samples that are timed. distance: of samples, the Fréchet distance. agreement: the threshold of how far those
        of DDIM may differ.
    """

    weights: Path
    options: Mapping[str, Any]
    timed: int
    distance: Callable[[np.ndarray], float]
    agreement: str = "agreement"


Make = Callable[[Workload, Path, bool], Course]
"""(workload, folder for its files, whether it is tiny, with random weights) -> what is raced for."""


def digits(workload: Workload, folder: Path, tiny: bool) -> Course:
    """Digits, by a network that is trained by the recipe of the digits experiment."""
    weights_folder = folder / "weights"
    if tiny:
        weights.write(workload, weights_folder)
    else:
        config, training = digits_experiment.Config(seeds=(0,)), RunFolder(folder / "training")
        image_training.per_seed(digits_experiment.model)(config, training, Progress(quiet=True))
        weights.save(workload, image_training.averaged(digits_experiment.model(config), training, 0), weights_folder)
    held_out = frechet.fit(features.pixels(digits_data.load().held_out_images))
    options = {"together": 125, "resolution": draws.RESOLUTION, "norm": draws.norm()}
    return Course(
        weights_folder,
        options,
        workload.batch,
        lambda samples: frechet.frechet_distance(held_out, frechet.fit(equivalence.points_of_digits(samples))),
    )


def latents(workload: Workload, folder: Path, tiny: bool) -> Course:
    """Drawings of emoji, by a network of latents and their decoder that are trained by the recipes of the experiment
    `latent`.
    """
    decoding, weights_folder, decoder = (
        Workload("decode", "tiny_vae" if tiny else "latents_vae"),
        folder / "weights",
        folder / "decoder",
    )
    options: dict[str, Any] = {"together": 100, "decoder": str(decoder), "resolution": 0.1, "norm": 32.0}
    config = latent.Config(seeds=(0,), side=32, pictures=24, held_out=24) if tiny else latent.Config(seeds=(0,))
    images, held_out = emoji_pictures.load(config.side, config.pictures, config.held_out)
    if tiny:
        weights.write(workload, weights_folder)
        weights.write(decoding, decoder)
        stride = config.side // decoding.shape[0]
        held_out = held_out[:, ::stride, ::stride]
    else:
        training = RunFolder(folder / "training")
        training.path.mkdir(exist_ok=True)
        params, settings, of_latents, measured = _trained_on_drawings(config, images, training)
        weights.save(workload, of_latents, weights_folder)
        weights.save(decoding, params, decoder, **settings)
        options |= measured
    rows = functools.partial(image_features.of_drawn, image_features.function(FeatureOptions()))
    fitted = frechet.fit(rows(held_out))
    return Course(
        weights_folder,
        options,
        16,
        lambda samples: frechet.frechet_distance(fitted, frechet.fit(rows(samples))),
        "agreement_pictures",
    )


def _trained_on_drawings(
    config: latent.Config, images: np.ndarray, folder: RunFolder
) -> tuple[Params, dict[str, Any], Params, dict[str, float]]:
    """(parameters of the autoencoder, its settings, parameters of the network of latents, what of them the grid
    needs).
    """
    quiet, recipe = Progress(quiet=True), networks.recipe(config, networks.LATENTS)
    coder, autoencoder_folder = networks.autoencoder(config), folder.inside(networks.AUTOENCODER)
    image_coding.train(config.autoencoder, coder, images, autoencoder_folder, quiet, seed=0, kl_weight=config.kl_weight)
    unit, params, clean = networks.coder(config, folder, 0, images, quiet)
    options: dict[str, Any] = {"checkpoint_every": recipe.checkpoint_every, "log_every": recipe.log_every}
    arguments = networks.training(config, folder, networks.LATENTS, clean)
    state = training_loop.train(
        **arguments, seed=0, steps=TRAINED, folder=folder.inside(networks.LATENTS), progress=quiet, **options
    )
    scale, shift = (
        np.broadcast_to(np.asarray(value, np.float64), config.channels).tolist()
        for value in (unit.network.scale, unit.network.shift)
    )
    settings = {"latents_mean": shift, "latents_std": [1 / each for each in scale], "scaling_factor": 1.0}
    resolution = math.sqrt(12) * image_coding.spread(unit.network, params, images[: config.together])
    return params, settings, state.ema, {"resolution": resolution, "norm": few_evaluations.norm(clean)}


RACE = Workload("race", "digits", batch=1000, steps=50)
OF_LATENTS = Workload("race", "latents", batch=500, steps=50)
PICTURES = "seconds to 16 pictures of a latent model as good as those of DDIM in 50 steps"
CASES = (
    Case(
        "digits_race",
        "seconds to 1,000 digits as good as those of DDIM in 50 steps",
        RACE,
        "race",
        measure=functools.partial(measure, digits),
    ),
    Case("latents_race", PICTURES, OF_LATENTS, "race", measure=functools.partial(measure, latents)),
)
