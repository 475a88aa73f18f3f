"""The sets of samples of the ddim-steps experiment, drawn once and kept in the run folder: the long ones take minutes."""

import hashlib
import io
import json
import time
from dataclasses import dataclass

import jax
import numpy as np

from experiments.diffusion.ddim_steps.config import Config
from experiments.diffusion.image_draws import Draws, Grid
from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.core import npz, trees
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params
from gendiff.diffusion import grids, samplers
from gendiff.diffusion.sampling import Sampler
from gendiff.runs import ranges
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import json_files
from gendiff.runs.run_folder import RunFolder

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
"""Samplers of few steps, on the grid of their own papers: even in log-SNR (Lu et al., 2022), in time, and Karras et al.'s for Heun."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    image_training.check(config)
    ranges.known("few", config.few, FEW)
    for steps in config.steps:
        ranges.at_most("steps", steps, "levels", config.levels)
    for option, counts in (("equivalent", config.equivalent), ("same", (config.same,)), ("fast", (config.fast,))):
        for steps in counts:
            ranges.among(option, steps, "steps", config.steps)
    for option, steps in (("coarse", config.coarse), ("coarse-chain", config.coarse_chain)):
        ranges.among(option, steps, "steps", config.steps)
    most = max(config.steps)
    if config.fast == most:
        raise ConfigError(f"--fast {config.fast} must be below the most of --steps, {most}, whose time it is held against")
    if config.same in config.equivalent:
        raise ConfigError(f"--same {config.same} is a control: it cannot be one of --equivalent {ranges.shown(config.equivalent)}")
    for budget in config.budgets:
        ranges.at_most("budgets", budget, "steps, the most of which is", most)
    if not set(config.steps) & set(SHOWN):
        raise ConfigError(f"--steps {ranges.shown(config.steps)}: at least one must be of {ranges.shown(SHOWN)}, which the picture shows")


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
        return f"seed {self.seed}, {self.method.name}, {self.steps} steps"


def sets(config: Config, seed: int) -> list[Set]:
    """Every set of one seed: the two chains at each number of steps, and the samplers of few steps at each budget, none twice."""
    chains = [Set(seed, method, steps) for method in (DDIM, DDPM) for steps in config.steps]
    few = [Set(seed, FEW[name], FEW[name].steps_within(budget)) for name in config.few for budget in config.budgets]
    return list(dict.fromkeys([*chains, *few]))


class MethodDraws:
    """Draws of one model, one compiled program per method. It serves every number of steps and every seed's parameters."""

    def __init__(self, config: Config, model: Model, progress: Progress) -> None:
        self._config, self._model, self._progress = config, model, progress
        self._draws: dict[str, Draws] = {}

    def draw(self, title: str, params: Params, method: DrawMethod, steps: int, count: int) -> tuple[np.ndarray, float]:
        """(count, h, w, c) images, and the seconds that they took without compiling."""
        if method.name not in self._draws:
            together, most = self._config.together, max(self._config.steps if method in (DDIM, DDPM) else self._config.budgets)
            draws = Draws(self._model, most, together, self._progress, sampler=method.sampler, grid=GRIDS[method.grid])
            draws(f"compile {method.name}", params, together, steps=1)
            self._draws[method.name] = draws
        begin = time.perf_counter()
        images = self._draws[method.name](title, params, count, steps=steps)
        return images, time.perf_counter() - begin


def kept(config: Config, programs: MethodDraws, folder: RunFolder, wanted: Set, params: Params) -> tuple[np.ndarray, float]:
    """The images of a set, and the seconds that `together` of them took.

    They lie in the folder `samples` of the run under what made them: parameters, method, steps and counts. A set that lies there is read,
    not drawn again. The folder may be deleted, and is no part of the results.
    """
    method, digest = wanted.method, hashlib.sha256()
    for path, leaf in trees.paths(jax.device_get(params)).items():
        digest.update(f"{path} {leaf.dtype} {leaf.shape}".encode() + leaf.tobytes())
    chosen = (method.name, method.grid, wanted.steps, max(config.steps), config.samples, config.together)
    digest.update(json.dumps(chosen).encode())
    title = "".join(letter if letter.isalnum() else "_" for letter in wanted.name)
    file = folder.path / "samples" / f"{title}_{digest.hexdigest()[:16]}.npz"
    if not file.exists():
        images, seconds = programs.draw(wanted.name, params, method, wanted.steps, config.samples)
        content = io.BytesIO()
        np.savez(content, images=images, seconds=seconds / -(-len(images) // config.together))
        file.parent.mkdir(exist_ok=True)
        json_files.write_bytes(file, content.getvalue())
    stored = npz.guarded(file, lambda: npz.read(file, ["images", "seconds"]))
    return stored["images"], float(stored["seconds"])
