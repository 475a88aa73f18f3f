"""The same samples on 8 devices: in a process of its own, since a CPU is as many devices as JAX is configured for when it starts.

    python -m experiments.diffusion.invariance.devices RUN OUT.npz

draws every case of the run folder, split over all devices and on the first of them. `draw` runs that with 8 devices made of one CPU.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.diffusion import invariance
from experiments.diffusion.invariance import draw as invariance_draws
from experiments.framework import configuration, run_folder, training_loop
from experiments.framework.run_folder import RunFolder
from gendiff.training import sharding

DEVICES = 8
ROOT = Path(__file__).resolve().parents[3]
_FLAG = "--xla_force_host_platform_device_count"


def draw(folder: RunFolder) -> list[tuple[np.ndarray, np.ndarray]]:
    """(on 8 devices, on one) of each of `invariance_draws.cases`. RuntimeError with its error output where the process fails."""
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if not flag.startswith(_FLAG)]
    environment = os.environ | {
        "XLA_FLAGS": " ".join([*flags, f"{_FLAG}={DEVICES}"]),
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "drawn.npz"
        command = [sys.executable, "-m", "experiments.diffusion.invariance.devices", str(folder.path), str(out)]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True)
        if ran.returncode != 0:
            raise RuntimeError(f"drawing on {DEVICES} devices failed:\n{ran.stderr[-2000:]}")
        with np.load(out) as drawn:
            return [(drawn[f"split {number}"], drawn[f"whole {number}"]) for number in range(len(drawn.files) // 2)]


def main(run: str, out: str) -> None:
    folder = run_folder.existing(run)
    stored = configuration.read(folder)
    config = configuration.restore(stored, invariance.Config, folder)
    model = invariance.model(config)
    params = {seed: training_loop.restore_ema(model.init, folder, seed=seed, decay=model.ema) for seed in config.seeds}
    mesh, reference = sharding.mesh(), invariance_draws.ways(config)["reference"]
    drawn: dict[str, Any] = {}
    for number, case in enumerate(invariance_draws.cases(config, model, params)):
        drawn[f"split {number}"] = case.draw_split(config.samples, mesh)
        drawn[f"whole {number}"] = case.draw(reference)
    if jax.device_count() != DEVICES:
        raise RuntimeError(f"there are {jax.device_count()} devices, not {DEVICES}")
    np.savez(out, **drawn)


if __name__ == "__main__":
    main(*sys.argv[1:])
