"""How many steps each training takes: equal operations for both GANs, and the seconds of the direct one for diffusion.

Operations follow from the configuration. Seconds of a step are measured at the first start of a run and kept, so that a
run that goes on does as many steps.
"""

import functools
import itertools
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.adversarial.gan_progressive import networks, pictures
from experiments.adversarial.gan_progressive.config import (
    DIFFUSION,
    DIRECT,
    METHODS,
    PROGRESSIVE,
    Config,
    numbers,
    shape,
)
from gendiff.adversarial import growing
from gendiff.adversarial.growing import Growth
from gendiff.runs import meshes, paired_timing
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import json_files
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.step_benchmark import StepBenchmark
from gendiff.training import sharding

FILE = "step_seconds.json"
FADING = 0.5
"""Share of a stage during which its block fades in (Karras et al., 2018, App. A.1)."""


@dataclass(frozen=True)
class StepSeconds:
    """Seconds of a step in each round, by subject and part: a stage by its number, or "diffusion"."""

    seconds: dict[str, tuple[float, ...]]

    def median(self, subject: str, part: str) -> float:
        """Seconds of one step, over the rounds."""
        return statistics.median(self.seconds[f"{subject} {part}"])


def growth(config: Config, subject: str) -> Growth:
    """Equally many steps of each stage, as published, that cost as many operations as the direct training."""
    each = max(1, round(numbers(config, subject).flops / sum(stage_flops(config, subject))))
    return growing.growth([each] * len(stage_flops(config, subject)), FADING)


@functools.lru_cache(maxsize=4)
def stage_flops(config: Config, subject: str) -> tuple[float, ...]:
    """Operations of a step of each stage."""
    return tuple(networks.flops(config, subject, stage) for stage in range(networks.stages(shape(config, subject))))


def steps(config: Config, subject: str, method: str, times: StepSeconds) -> int:
    """Of the whole training, at least one."""
    if method == PROGRESSIVE:
        return growth(config, subject).total
    direct = max(1, round(numbers(config, subject).flops / stage_flops(config, subject)[-1]))
    if method == DIRECT:
        return direct
    return max(
        1, round(direct * times.median(subject, _part(config, subject, DIRECT)) / times.median(subject, DIFFUSION))
    )


def steps_at(config: Config, subject: str, method: str, share: float, times: StepSeconds) -> int:
    """Steps after which that share of the training's operations is done, at least one."""
    if method != PROGRESSIVE:
        return max(1, round(share * steps(config, subject, method, times)))
    stages, each = growth(config, subject), stage_flops(config, subject)
    ends = np.cumsum([0.0, *(count * flops for count, flops in zip(stages.steps, each, strict=True))])
    counts = np.cumsum([0, *stages.steps])
    return stages.total if share == 1 else max(1, round(float(np.interp(share * ends[-1], ends, counts))))


def spent(config: Config, subject: str, method: str, times: StepSeconds) -> tuple[float, float]:
    """(operations of the whole training of a GAN, NaN for diffusion; its seconds by the measured steps)."""
    count = steps(config, subject, method, times)
    if method != PROGRESSIVE:
        operations = count * stage_flops(config, subject)[-1] if method == DIRECT else float("nan")
        return operations, count * times.median(subject, _part(config, subject, method))
    stages = growth(config, subject)
    operations = sum(count * flops for count, flops in zip(stages.steps, stage_flops(config, subject), strict=True))
    return operations, sum(count * times.median(subject, str(stage)) for stage, count in enumerate(stages.steps))


def measured(config: Config, folder: RunFolder, progress: Progress) -> StepSeconds:
    """Those of the run: measured at its first start and then read."""
    file = folder.path / FILE
    if not file.exists():
        with progress.phase("time steps"):
            works = dict(itertools.chain.from_iterable(_works(config, folder, subject) for subject in config.subjects))
            json_files.write(file, StepSeconds(paired_timing.timed(works, config.rounds)))
    return read(folder)


def read(folder: RunFolder) -> StepSeconds:
    """Those of the run. Raises DataError where the file is missing or broken."""
    return json_files.read(folder.path / FILE, StepSeconds)


def planned(config: Config, subject: str, times: StepSeconds) -> str:
    """One line for the terminal."""
    parts = []
    for method in METHODS:
        parts.append(
            f"{method} {steps(config, subject, method, times):,} steps in "
            f"{spent(config, subject, method, times)[1]:.0f} s"
        )
    return f"{subject}: {', '.join(parts)} per seed"


def _works(config: Config, folder: RunFolder, subject: str) -> list[tuple[str, Callable[[], Any]]]:
    images, _ = pictures.load(config, subject)
    settings, grown = numbers(config, subject), growth(config, subject)
    mesh = meshes.build(folder.mesh, ())
    works: list[tuple[str, Callable[[], Any]]] = []
    for stage in range(grown.stages):
        batch = pictures.batch(images, settings.batch, 0, grown, sum(grown.steps[:stage]))
        works.append(
            (
                f"{subject} {stage}",
                _turn(networks.programs(networks.trained_game(config, subject, stage), mesh), batch, mesh),
            )
        )
    works.append((f"{subject} {DIFFUSION}", StepBenchmark(**networks.denoising(config, folder, subject, images))))
    return works


def _part(config: Config, subject: str, method: str) -> str:
    """What is timed for a method other than the progressive one: the direct one takes steps of the last stage."""
    return str(networks.last(config, subject)) if method == DIRECT else method


def _turn(run: Any, batch: Any, mesh: jax.sharding.Mesh) -> Callable[[], Any]:
    """Does one step after the other on a state that nothing keeps, and returns what to wait for."""
    state, rows = sharding.replicate(run.fresh(jax.random.key(0)), mesh), sharding.shard(batch, mesh)

    def step() -> Any:
        nonlocal state
        state, metrics = run.step(state, rows)
        return metrics

    return step
