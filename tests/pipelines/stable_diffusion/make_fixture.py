"""Writes fixture.safetensors: tiny weights of diffusers and transformers, and what their pipelines draw with them. Run
by hand:

pip install torch diffusers transformers
PYTHONPATH=. python -m tests.pipelines.stable_diffusion.make_fixture
"""

import pathlib
import warnings
from collections.abc import Mapping

import diffusers
import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

from tests.pipelines.stable_diffusion import peer_draws
from tests.pipelines.stable_diffusion.peer_pipelines import (
    CASES,
    built,
    built_fill,
    filled,
    latents,
    of_class,
    samples,
    weights,
)

warnings.simplefilter("ignore")


def named(folder: str, parts: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of parts by the names that they have in the fixture."""
    return {f"{folder}/{part}/{key}": value for part, arrays in parts.items() for key, value in arrays.items()}


def main() -> None:
    arrays = {}
    for name, case in CASES.items():
        pipe = built(case.folder)
        arrays |= named(case.folder, weights(pipe))
        start = latents(case)
        arrays[f"{name}: latents"], arrays[f"{name}: pictures"] = samples(pipe, case, start)
        arrays[f"{name}: start"] = start
        size = sum(array.nbytes for key, array in arrays.items() if key.startswith(name))
        print(f"{name}: {size / 1024:.0f} KiB, pictures {np.std(arrays[f'{name}: pictures']):.2f}")
    fill, dit = built_fill(), built("dit", transformer=peer_draws.CLASSES)
    arrays |= named("fill", {"transformer": weights(fill)["transformer"]}) | named("dit", weights(dit))
    arrays |= {"fill: pictures": filled(fill), "dit: pictures": of_class(dit)}
    made_by = (
        f"diffusers {diffusers.__version__}, transformers {transformers.__version__}, torch {torch.__version__}, "
        "float32"
    )
    save_file(arrays, pathlib.Path(__file__).with_name("fixture.safetensors"), metadata={"made_by": made_by})


if __name__ == "__main__":
    main()
