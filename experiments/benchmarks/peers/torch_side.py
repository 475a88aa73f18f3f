"""The peer's process: torch and diffusers, answering `experiments.benchmarks.protocol`."""

import copy
import importlib.metadata
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.benchmarks import protocol, workloads

protocol.limit_cores(int(os.environ.get("BENCH_THREADS", "0")))

import diffusers  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from experiments.benchmarks.peers import torch_models, torch_work  # noqa: E402
from experiments.benchmarks.workloads import Workload  # noqa: E402


class TorchSide:
    """What the process holds between requests: one workload, in one mode at a time."""

    def __init__(self) -> None:
        self.device = os.environ.get("BENCH_DEVICE", "cpu")
        self.workload = Workload("matmul")
        self.arrays: dict[str, torch.Tensor] = {}
        self.module: torch.nn.Module | None = None
        self.work: dict[str, Callable[[], torch.Tensor]] = {}

    def prepare(self, workload: dict[str, Any], arrays: str, weights: str = "") -> dict[str, Any]:
        """Builds the workload's module from a fixed seed and saves its weights in the folder `weights`."""
        self.workload = workloads.from_json(workload)
        with np.load(arrays) as stored:
            self.arrays = {name: torch.from_numpy(stored[name].copy()).to(self.device) for name in stored.files}
        if self.workload.network:
            self.module = torch_models.build(self.workload.network, self.device)
        elif self.workload.kind == "block":
            self.module = torch_models.block(self.workload, self.device)
        if self.module is not None and weights:
            torch_models.save(self.module, Path(weights))
        return {"parameters": 0 if self.module is None else sum(value.numel() for value in self.module.parameters())}

    def mode_on(self, mode: str) -> dict[str, float]:
        """Makes the mode ready by doing the work once: seconds of that first time, compilation included, and peak memory until then."""
        begin = time.perf_counter()
        self.work[mode] = self._build(mode)
        self.work[mode]()
        self._wait()
        return {"first": time.perf_counter() - begin, "peak_mib": self._peak()}

    def run(self, mode: str, repeats: int = 1) -> float:
        """Seconds of `repeats` times the work, in a mode that is on."""
        work = self.work[mode]
        self._wait()
        begin = time.perf_counter()
        for _ in range(repeats):
            work()
        self._wait()
        return time.perf_counter() - begin

    def output(self, mode: str, to: str) -> None:
        """What the work answers in a mode that is on, images channels last, into the .npz file `to`."""
        result = self.work[mode]().float().cpu()
        images = self.workload.kind in ("sample", "sweep", "block", "convolution")
        np.savez(to, output=(result.movedim(-3, -1) if images else result).numpy())

    def gradient(self, folder: str) -> float:
        """The loss of `torch_work.gradient`; its gradients go to the folder, under the names of the weights."""
        assert self.module is not None
        loss = float(torch_work.gradient(torch_work.TorchNetwork(self.workload, self.module, "eager"), self.arrays))
        torch_models.save(self.module, Path(folder), gradients=True)
        self.module.zero_grad(set_to_none=True)
        return loss

    def about(self) -> dict[str, Any]:
        """Versions and settings."""
        packages = {name: importlib.metadata.version(name) for name in ("torch", "diffusers", "numpy")}
        return {"python": sys.version.split()[0], **packages, "threads": torch.get_num_threads(), "device": self._device_name()}

    def _build(self, mode: str) -> Callable[[], torch.Tensor]:
        if self.module is None:
            return torch_work.operation(self.workload, self.arrays, mode)
        module = copy.deepcopy(self.module) if self.work else self.module  # layout and training of one mode do not touch another
        if self.workload.kind == "block":
            return torch_work.block(self.workload, module, self.arrays, mode)
        build = {"sample": torch_work.sampler, "train": torch_work.trainer, "sweep": torch_work.sweep}[self.workload.kind]
        return build(torch_work.TorchNetwork(self.workload, module, mode), self.arrays)

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _peak(self) -> float:
        return torch.cuda.max_memory_allocated() / 2**20 if self.device == "cuda" else protocol.peak_memory()

    def _device_name(self) -> str:
        return torch.cuda.get_device_name() if self.device == "cuda" else "cpu"


def main() -> None:
    torch.set_num_threads(int(os.environ.get("BENCH_THREADS", "0")) or torch.get_num_threads())
    torch.set_float32_matmul_precision("highest")
    diffusers.utils.logging.set_verbosity_error()
    side = TorchSide()
    names = ("prepare", "run", "output", "gradient", "about")
    protocol.serve({name: getattr(side, name) for name in names} | {"mode": side.mode_on})


if __name__ == "__main__":
    main()
