"""The peer's process of a race to equal quality: schedulers of diffusers for a flow, answering `side_process`."""

import os
import time
from collections.abc import Callable
from typing import Any

import diffusers
import numpy as np
import torch

from experiments.benchmarks import torch_side
from experiments.benchmarks.side_process import Side
from experiments.benchmarks.workloads import NETWORKS


def _euler(steps: int) -> Any:
    """Euler on the levels 1, …, 1 / steps, which is DDIM on the grid `trailing`."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))
    return scheduler


def _of(kind: Any, **options: Any) -> Callable[[int], Any]:
    def made(steps: int) -> Any:
        scheduler = kind(**options)
        scheduler.set_timesteps(steps)
        return scheduler

    return made


_FLOW: dict[str, Any] = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
METHODS: dict[str, Callable[[int], Any]] = {
    "FlowMatchEuler": _euler,
    "FlowMatchHeun": _of(diffusers.FlowMatchHeunDiscreteScheduler),
    "DPMSolverMultistep": _of(diffusers.DPMSolverMultistepScheduler, **_FLOW),
    "UniPCMultistep": _of(diffusers.UniPCMultistepScheduler, **_FLOW),
    "UniPCMultistep, Karras' levels": _of(diffusers.UniPCMultistepScheduler, use_karras_sigmas=True, **_FLOW),
}
"""By name, steps -> a scheduler that is ready.

Where it spaces levels exponentially, and in DPMSolverMultistep also as Karras does, diffusers 0.42 takes σ / α for the σ of a flow: NaN.
"""


class TorchRaceSide(Side):
    """Draws by METHODS in the modes "eager", "channels_last" and "compiled"."""

    def __init__(self) -> None:
        super().__init__()
        self.networks: dict[tuple[str, str], Any] = {}

    def methods(self) -> list[str]:
        """Every method; the first is the reference."""
        return list(METHODS)

    def prepare(
        self,
        network: str,
        arrays: str,
        weights: str,
        together: int,
        method: str,
        steps: int,
        name: str,
        mode: str = "eager",
        decoder: str = "",
        **_levels: float,
    ) -> dict[str, float]:
        """As `RaceSide.prepare`, in a mode, on the levels of its schedulers."""
        begin, kind = time.perf_counter(), getattr(diffusers, NETWORKS[network].kind)
        if (weights, mode) not in self.networks:
            module = kind.from_pretrained(weights, low_cpu_mem_usage=False).eval()
            self.networks[weights, mode] = torch_side.predictor(module, mode), _decode(decoder, mode)
        with np.load(arrays) as stored:
            noise, label = (torch.from_numpy(stored[key].copy()) for key in ("noise", "label"))
        parts = list(zip(torch_side.to_torch(noise, mode).split(together), label.split(together), strict=True))
        predict, decode = self.networks[weights, mode]

        def draw(x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            scheduler = METHODS[method](steps)
            for t in scheduler.timesteps:
                x = scheduler.step(predict(x, t, label), t, x).prev_sample
            return decode(x)

        def work() -> list[torch.Tensor]:
            with torch.inference_mode():
                return [draw(*part) for part in parts]

        self.work[name] = work
        return self._first(name, begin)

    def _numpy(self, result: Any) -> np.ndarray:
        return torch.cat(result).movedim(-3, -1).numpy()


def _decode(folder: str, mode: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """What is done with latents in the end: decoded by the autoencoder of a folder, in a mode; without one nothing."""
    if not folder:
        return lambda latents: latents
    module = diffusers.AutoencoderKL.from_pretrained(folder, low_cpu_mem_usage=False).eval()
    config, decode = module.config, torch_side.laid_out(module.to(memory_format=torch_side.layout(mode)).decode, mode)
    mean, std = torch.zeros(1), torch.ones(1)
    if config.latents_mean is not None:
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (config.latents_mean, config.latents_std))
    return lambda latents: decode(latents * std / config.scaling_factor + mean).sample


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("BENCH_THREADS", "0")) or torch.get_num_threads())
    torch.set_float32_matmul_precision("highest")
    diffusers.utils.logging.set_verbosity_error()
    TorchRaceSide().serve()
