"""From seconds to optimizer steps: how long a step of each network takes, measured once per run, and what a budget then
gives.
"""

import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.diffusion.latent import networks
from experiments.diffusion.latent.config import Config
from experiments.diffusion.latent.networks import AUTOENCODER, LATENTS, MODELS, PIXELS
from gendiff.commands.images import image_coding, image_training
from gendiff.commands.images.image_coding import Coder
from gendiff.diffusion.types import Batch
from gendiff.runs import paired_timing, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import json_files
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.step_benchmark import StepBenchmark

FILE = "step_times.json"
ENCODING = "encoding"
"""Encoding `together` pictures."""


@dataclass(frozen=True)
class StepTimes:
    """What one optimizer step of each network costs, by its name.

    seconds: of one step in each round, and of encoding `together` pictures. flops: of a step by XLA's count. peak:
    bytes of a step by XLA's analysis.
    """

    seconds: dict[str, tuple[float, ...]]
    flops: dict[str, float]
    peak: dict[str, int]

    def median(self, name: str) -> float:
        """Seconds of one step, over the rounds."""
        return statistics.median(self.seconds[name])

    def steps(self, config: Config, name: str) -> tuple[int, ...]:
        """Optimizer steps of a diffusion model at the end of each part of its budget: at least 1."""
        return tuple(max(1, round(part * config.seconds / self.median(name))) for part in config.fractions)

    def spent(self, config: Config, name: str) -> np.ndarray:
        """(parts,) seconds that these steps take."""
        return np.array(self.steps(config, name)) * self.median(name)

    def before_latents(self, config: Config) -> float:
        """Seconds that the latent model owes: the autoencoder's training, and encoding all training pictures twice.

        The first time is for the mean and the variance of the latents.
        """
        calls = 2 * -(-config.pictures // config.together)
        return config.autoencoder.train_steps * self.median(AUTOENCODER) + calls * self.median(ENCODING)


def measured(config: Config, folder: RunFolder, images: np.ndarray, progress: Progress) -> StepTimes:
    """Those of the run: measured at its first start and then read, so that a run that goes on does as many steps."""
    file = folder.path / FILE
    if not file.exists():
        with progress.phase("time steps"):
            json_files.write(file, _measure(config, folder, images))
    return read(folder)


def read(folder: RunFolder) -> StepTimes:
    """Those of the run. Raises DataError where the file is missing or broken."""
    return json_files.read(folder.path / FILE, StepTimes)


def _measure(config: Config, folder: RunFolder, images: np.ndarray) -> StepTimes:
    network, learning = networks.autoencoder(config), config.autoencoder
    start = image_coding.init(network)
    loss = image_coding.autoencoding(network, config.kl_weight, config.perceptual_weight)
    optimizer = image_training.optimizer(learning)
    program = training_loop.compile_loss(loss, optimizer, start, folder, ema=(learning.ema,))
    benchmarks = {AUTOENCODER: StepBenchmark(program, Batch(clean=images), batch=learning.batch)}
    noise = np.random.default_rng(0).normal(size=(len(images), *networks.shape(config, LATENTS))).astype(np.float32)
    for name, clean in ((LATENTS, noise), (PIXELS, images)):
        benchmarks[name] = StepBenchmark(**networks.training(config, folder, name, clean))
    coder, params = Coder(network, config.together, Progress(quiet=True)), benchmarks[AUTOENCODER].params
    works: dict[str, Any] = benchmarks | {ENCODING: lambda: coder.encode(params, images[: config.together])}
    return StepTimes(
        seconds=paired_timing.timed(works, config.step_rounds),
        flops={name: benchmark.flops for name, benchmark in benchmarks.items()},
        peak={name: benchmark.peak for name, benchmark in benchmarks.items()},
    )


def planned(config: Config, times: StepTimes) -> str:
    """One line for the terminal."""
    parts = [f"{name} {times.steps(config, name)[-1]:,} steps of {1000 * times.median(name):.0f} ms" for name in MODELS]
    return f"{config.seconds:g} s of training are: {', '.join(parts)}"
