"""Everything that the latent experiment found, and both accounts of its time: without the autoencoder's training, and with it."""

from collections.abc import Mapping
from dataclasses import dataclass

from experiments.diffusion.latent import time_to_quality
from experiments.diffusion.latent.budget import StepTimes
from experiments.diffusion.latent.config import Config
from experiments.diffusion.latent.costs import Cost, Place
from experiments.diffusion.latent.networks import LATENTS, PIXELS
from experiments.diffusion.latent.sets import Drawing, Judge, OfSeed
from experiments.diffusion.latent.time_to_quality import Speedup


@dataclass(frozen=True, eq=False)
class Found:
    """Everything that claims, figures and tables are made of. speedups: of each seed without and with what the latent model owes."""

    times: StepTimes
    judge: Judge
    seeds: Mapping[int, OfSeed]
    drawing: Drawing
    costs: Mapping[Place, Cost]
    speedups: Mapping[int, tuple[Speedup, Speedup]]


def both(config: Config, times: StepTimes, of: OfSeed) -> tuple[Speedup, Speedup]:
    """Time to the last distance of the pixel model, without and with the seconds that the latent model owes before it begins."""
    slower, faster = ((times.spent(config, name), of.curves[name]) for name in (PIXELS, LATENTS))
    without, with_all = (
        time_to_quality.speedup(slower, faster, resamples=config.resamples, owed=owed) for owed in (0.0, times.before_latents(config))
    )
    return without, with_all
