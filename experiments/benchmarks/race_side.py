"""Our process of a race to equal quality: gendiff alone, answering `side_process`."""

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import ours
from experiments.benchmarks.side_process import Side
from experiments.benchmarks.workloads import Workload
from experiments.diffusion.few_step import draws
from gendiff import networks
from gendiff.commands.images import image_coding
from gendiff.core.types import Params
from gendiff.diffusion import denoiser, grids, parameterization, sampling, schedules
from gendiff.runs import compile_cache, devices
from gendiff.weights import diffusers_autoencoder, files

LONGEST = 50
"""Most steps of a draw."""
SAMPLERS = {name: sampler for name, (sampler, _) in draws.FIXED.items()}
"""Those of the experiment few-step on fixed levels: DDIM on `grids.trailing`, all others on `grids.resolved`."""


class RaceSide(Side):
    """Draws by each of SAMPLERS, compiled once for every number of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: dict[tuple[str, str, str], tuple[Params, networks.Autoencoder | None]] = {}
        self.draws: dict[tuple[str, str, str], Any] = {}

    def methods(self) -> list[str]:
        """Every method; the first is the reference."""
        return list(SAMPLERS)

    def prepare(
        self,
        network: str,
        arrays: str,
        weights: str,
        together: int,
        method: str,
        steps: int,
        name: str,
        resolution: float,
        norm: float,
        decoder: str = "",
    ) -> dict[str, float]:
        """Makes the draw of the arrays' noise by a method in so many steps ready under a name, and does it once (see Side._first).

        together: samples of one call. resolution, norm: of `grids.resolved`. decoder: the folder of that of latents, whose pictures count.
        """
        begin, workload = time.perf_counter(), Workload("sample", network)
        with np.load(arrays) as file:
            given = {key: file[key] for key in file.files}
        if (network, weights, decoder) not in self.opened:
            stored = ours.parameters(workload, ours.build(workload), weights)
            module, of_decoder = open_decoder(decoder) if decoder else (None, ())
            self.opened[network, weights, decoder] = jax.tree.map(jnp.asarray, (stored, of_decoder)), module
        params, module = self.opened[network, weights, decoder]
        sampler, flow = SAMPLERS[method], schedules.flow()
        grid = grids.trailing(flow, steps) if method == draws.DDIM else grids.resolved(flow, steps, resolution=resolution, norm=norm)
        levels = grids.padded(grid, max(steps, LONGEST))
        rows = [slice(first, first + together) for first in range(0, len(given["label"]), together)]
        parts = [(jnp.asarray(levels.sigma[0] * given["noise"][part]), jnp.asarray(given["label"][part])) for part in rows]
        bound = params, levels, jnp.int32(steps)
        if (network, method, decoder) not in self.draws:
            drawn = devices.jit(_draw(workload, sampler, module))
            self.draws[network, method, decoder] = devices.compiled(drawn, *bound, *parts[0])
        program = self.draws[network, method, decoder]
        self.work[name] = lambda: [program(*bound, *part) for part in parts]
        return self._first(name, begin)

    def _wait(self, result: Any) -> None:
        jax.block_until_ready(result)

    def _numpy(self, result: Any) -> np.ndarray:
        return np.concatenate([np.asarray(part) for part in result])


def _draw(workload: Workload, sampler: sampling.Sampler, decoder: networks.Autoencoder | None) -> Any:
    predict, shape = networks.pure(ours.build(workload)), workload.shape
    decode = None if decoder is None else networks.pure(decoder, "decode")

    def run(params: Params, levels: Any, steps: jax.Array, start: jax.Array, label: jax.Array) -> jax.Array:
        network, of_decoder = params
        flow = denoiser.from_network(predict, network, parameterization.flow(), label)
        index = jnp.arange(len(label))
        drawn = sampling.sample(jax.random.key(0), flow, sampler, levels, shape, index, num_steps=steps, start=start)
        return drawn if decode is None else decode(of_decoder, drawn)

    return run


def open_decoder(folder: str) -> tuple[networks.Autoencoder, Params]:
    """An autoencoder as diffusers saves it, with its parameters."""
    stored = files.load_folder(Path(folder))
    network = networks.Autoencoder(**diffusers_autoencoder.network_fields(stored.config))
    like = jax.eval_shape(image_coding.init(network), jax.random.key(0))
    return network, diffusers_autoencoder.params(stored.config, stored.arrays, like)


if __name__ == "__main__":
    compile_cache.use()
    RaceSide().serve()
