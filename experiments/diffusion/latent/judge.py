"""How the latent experiment judges: quality at equal time, time to equal quality, and the cost of one evaluation by resolution."""

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from experiments.diffusion.latent import accounts, budget, costs, tables
from experiments.diffusion.latent import figures as latent_figures
from experiments.diffusion.latent.config import Config
from experiments.diffusion.latent.costs import AGAIN, Cost, Place
from experiments.diffusion.latent.networks import LATENTS, MODELS, PIXELS
from experiments.diffusion.latent.sets import MEAN, Judge, OfSeed, Sampled
from experiments.diffusion.latent.time_to_quality import Speedup
from gendiff.commands.images import emoji_pictures
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import verdicts
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder

_COST, _CURVES = "cost.png", "curves.png"


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and tables, from the checkpoints and the step times of the folder."""
    images = emoji_pictures.load(config.side, config.pictures, config.held_out)
    times, judge = budget.read(folder), Judge(config, *images)
    with progress.phase("time evaluations"):
        by_place = costs.measure(config)
    sampled = Sampled(config, folder, images, judge, progress)
    seeds = {seed: sampled.of(seed) for seed in config.seeds}
    drawing = sampled.timed(config.seeds[0])
    with progress.phase("judge"):
        speedups = {seed: accounts.both(config, times, of) for seed, of in seeds.items()}
        found = accounts.Found(times, judge, seeds, drawing, by_place, speedups)
        claims = (*cost_claims(config, by_place), *quality_claims(config, judge, seeds, speedups))
    with progress.phase("figures"):
        return Outcome(claims, latent_figures.figures(config, folder, found), tables.tables(config, found))


def cost_claims(config: Config, by_place: Mapping[Place, Cost]) -> Iterator[Claim]:
    """Of one evaluation at the largest resolution: arithmetic of the shapes, the measured ratio, and the same network against itself."""
    largest = config.resolutions[-1]
    pixels, latents, again = (by_place[what, largest] for what in (costs.PIXELS, costs.LATENTS, AGAIN))
    claim = functools.partial(verdicts.against, config.thresholds, None)
    side = largest // costs.FACTOR
    at = f"{largest}² pixels and {side}×{side}×{costs.CHANNELS} latents"
    places, numbers = (math.prod(pixels.shape[:axes]) / math.prod(latents.shape[:axes]) for axes in (2, 3))
    for id, what, ratio, of in (("positions", "positions", places, 64), ("numbers", "numbers", numbers, 48)):
        yield claim(id, f"{at}: ratio of {what}, distance from {of}", abs(ratio - of), "<=", "exact", n=1)
    shown: dict[str, Any] = {"n": config.cost_rounds, "figure": _COST}
    words = f"{at}: seconds of one evaluation of the same network, a ratio"
    yield claim("evaluation", words, costs.ratio(pixels, latents, config.resamples), ">=", **shown)
    null = verdicts.away(costs.ratio(latents, again, config.resamples), 1.0)
    words = "the same latents against themselves: seconds of one evaluation, distance of the ratio from 1"
    yield claim("null", words, null, "<=", kind="control", **shown)


def quality_claims(
    config: Config, judge: Judge, seeds: Mapping[int, OfSeed], speedups: Mapping[int, tuple[Speedup, Speedup]]
) -> Iterator[Claim]:
    """Fréchet distances of both models, and their seconds; by seed. Without the autoencoder's training, which the tables add."""
    for seed, of in seeds.items():
        claim = functools.partial(verdicts.against, config.thresholds, seed, n=config.samples, figure=_CURVES)
        last = {name: of.curves[name][-1] for name in MODELS}
        words = "Fréchet distance of the latent model's samples over that of the pixel model's, after equally long training"
        yield claim("equal-time", words, judge.ratio(last[LATENTS], last[PIXELS]), "<=")
        words = "seconds of training to the pixel model's last distance: those of the pixel model over those of the latent model"
        yield claim("equal-quality", words, speedups[seed][0].ratio, ">=")
        for name, distances in (of.untrained or {}).items():
            words, trained = f"untrained network of {name}: Fréchet distance over that of the trained one", name
            if name == MEAN:
                words, trained = f"the {MEAN}: Fréchet distance over that of samples of {LATENTS}", LATENTS
            ratio = judge.ratio(distances, last[trained])
            yield claim(f"untrained-{name.replace(' ', '-')}", words, ratio, ">=", "untrained", kind="control")
