"""Weights go from disk to their place: a process that reads them needs their memory and that of few layers."""

import json
import subprocess
import sys

import numpy as np
import pytest

from gendiff.weights import files
from tests.pipelines.stable_diffusion.test_packed_weights import wide

pytest.importorskip("tokenizers", reason="needs the extra [text]")

WIDE = {"attention_head_dim": 64, "num_attention_heads": 8, "axes_dims_rope": [16, 24, 24]}
BLOCKS = {"num_layers": 4, "num_single_layers": 8}
CHILD = """
import json, sys
import jax
from gendiff.pipelines.stable_diffusion import open_model

model = open_model(sys.argv[1])
model.parts["transformer"].check()
jax.block_until_ready(model.part_params("text_encoder"))


def resident(field):
    with open("/proc/self/status") as file:  # that of getrusage begins with the peak of the parent
        return 1024 * int(next(line for line in file if line.startswith(field)).split()[1])


before = resident("VmRSS")
params = jax.block_until_ready(model.part_params("transformer"))
sizes = [leaf.nbytes for leaf in jax.tree.leaves(params)]
print(json.dumps([before, resident("VmHWM"), sum(sizes), max(sizes)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_reading_a_transformer_takes_the_memory_of_its_parameters_and_of_few_layers(tmp_path, kind):
    folder, arrays = wide(tmp_path / "folder", "flux", WIDE | BLOCKS)
    if kind == "float16":
        half = {key: array.astype(np.float16) for key, array in arrays.items()}
        files.safetensors.numpy.save_file(half, folder / "transformer" / f"{files.STEM}.safetensors")
    child = subprocess.run([sys.executable, "-c", CHILD, str(folder)], capture_output=True, text=True, check=True)
    before, peak, total, largest = json.loads(child.stdout)
    taken = peak - before - total
    # what was freed between arrays that stay is not given back
    assert total > 250e6 and -0.1 * total < taken < 8 * largest + 20e6 < 0.3 * total
