"""The same samples on 8 devices: in a process of its own, since a CPU is as many devices as JAX is configured for when
it starts.

    python -m experiments.diffusion.invariance.devices RUN OUT.npz

draws every case of the run folder, split over all devices and on the first of them. `draw` runs that with 8 devices
made of one CPU.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

from experiments.diffusion import invariance
from experiments.diffusion.invariance import draw as invariance_draws
from gendiff.commands.images import image_training
from gendiff.runs import configuration, run_folder
from gendiff.runs.run_folder import RunFolder
from gendiff.training import sharding

DEVICES = 8


def draw(folder: RunFolder) -> list[tuple[np.ndarray, np.ndarray]]:
    """(on 8 devices, on one) of each of `invariance_draws.cases`. RuntimeError with its error output where the process
    fails.
    """
    environment = {"JAX_NUM_CPU_DEVICES": str(DEVICES), "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "drawn.npz"
        command = [sys.executable, "-m", "experiments.diffusion.invariance.devices", str(folder.path), str(out)]
        ran = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
        if ran.returncode != 0:
            raise RuntimeError(f"drawing on {DEVICES} devices failed:\n{ran.stderr[-2000:]}")
        with np.load(out) as arrays:
            return [(arrays[f"split {number}"], arrays[f"whole {number}"]) for number in range(len(arrays.files) // 2)]


def main(run: str, out: str) -> None:
    if jax.device_count() != DEVICES:
        raise RuntimeError(f"there are {jax.device_count()} devices, not {DEVICES}")
    folder = run_folder.existing(run)
    config = configuration.restore(configuration.read(folder), invariance.Config, folder)
    model = invariance.model(config)
    params = {seed: image_training.averaged(model, folder, seed) for seed in config.seeds}
    mesh, reference = sharding.mesh(), invariance_draws.ways(config)["reference"]
    samples = {}
    for number, case in enumerate(invariance_draws.cases(config, model, params)):
        samples[f"split {number}"], samples[f"whole {number}"] = (
            case.draw_split(config.samples, mesh),
            case.draw(reference),
        )
    np.savez(out, **samples)  # type: ignore[arg-type]  # no array is called allow_pickle


if __name__ == "__main__":
    main(*sys.argv[1:])
