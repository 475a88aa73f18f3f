"""Weights go from disk to their place: a process that reads them needs their memory and that of one layer."""

import json
import os
import subprocess
import sys

import jax
import ml_dtypes
import numpy as np
import pytest

from gendiff import networks
from gendiff.weights import files, language_models
from tests.pipelines.stable_diffusion.test_packed_weights import in_gguf, wide
from tests.weights.transformers.tiny_language_models import CONFIGS, random_params

pytest.importorskip("tokenizers", reason="needs the extra [text]")

WIDE = {"attention_head_dim": 64, "num_attention_heads": 8, "axes_dims_rope": [16, 24, 24]}
BLOCKS = {"num_layers": 4, "num_single_layers": 8}
LLAMA = CONFIGS["Llama"] | {"vocab_size": 8192, "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 8}
DEEP = LLAMA | {"vocab_size": 1024, "hidden_size": 512, "intermediate_size": 2816, "num_hidden_layers": 16}
COPIES = {"float32": 2, "full": 2, "as-file": 1, "int8": 3, "int4": 3}
"""How often the largest layer is in memory as float32 while it is read: as read, in our order, and to be packed."""
BESIDE = 8e6
"""Bytes that all else of the process may grow by, whatever the size of the model."""
CHILD = """
import functools, gc, json, sys
import jax
import numpy as np
from gendiff import networks
from gendiff.commands.chat.models import STORAGES
from gendiff.core import packed
from gendiff.pipelines.stable_diffusion import open_model
from gendiff.weights import language_models, quantised

kind, path, storage, file = sys.argv[1:]
if kind == "language":
    model = language_models.load(path)
    network = networks.LanguageModel(**model.fields)
    like = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), np.zeros((1, 2), np.int32)))
    read = lambda: model.params(like, maker=STORAGES[storage])
else:
    model = open_model(path, storage=storage, weights=file or None)
    model.parts["transformer"].check()
    read = lambda: model.part_params("transformer")
in_form = functools.partial(networks.language_model.stack_blocks, donate=True) if file == "loop" else lambda read: read


def resident(field):
    with open("/proc/self/status") as file:  # that of getrusage begins with the peak of the parent
        return 1024 * int(next(line for line in file if line.startswith(field)).split()[1])


jax.block_until_ready(in_form(read()))  # compiles what packs: of equal memory for all sizes
gc.collect()  # JAX lets go of memory of NumPy then
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak begins anew
before, mapped = resident("VmRSS"), resident("RssFile")
params = read()
sizes = [4 * packed.size(leaf) for leaf in packed.leaves(params)]
params = jax.block_until_ready(in_form(params))
mapped = resident("RssFile") - mapped  # pages of a mapped file, which the system takes back when it needs them
print(json.dumps([resident("VmHWM") - before - mapped, quantised.nbytes(params), max(sizes), sum(sizes)]))
"""


def assert_small(storage, kind, folder, file=""):
    # what is freed goes back to the system at once, so that memory that is in use is measured alone
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", CHILD, kind, str(folder), storage, str(file)]
    child = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    peak, total, largest, full = json.loads(child.stdout)
    assert full > 250e6 and -0.1 * total < peak - total < COPIES[storage] * largest + BESIDE


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]


@pytest.mark.parametrize(
    "dtype, storage", [("float32", "full"), ("float16", "full"), ("float16", "as-file"), ("float16", "int4")]
)
def test_reading_a_transformer_takes_the_memory_of_its_parameters_and_of_a_layer(tmp_path, dtype, storage):
    folder, arrays = wide(tmp_path / "folder", "flux", WIDE | BLOCKS)
    stored = {key: array.astype(dtype) for key, array in arrays.items()}
    files.safetensors.numpy.save_file(stored, folder / "transformer" / f"{files.STEM}.safetensors")
    assert_small(storage, "images", folder)


def test_reading_a_gguf_file_takes_the_memory_of_its_blocks_and_of_a_layer(tmp_path):
    folder, arrays = wide(tmp_path / "folder", "flux", WIDE | BLOCKS)
    assert_small("as-file", "images", folder, in_gguf(tmp_path, "flux", arrays))


@pytest.mark.parametrize(
    "storage, form, config",
    [(storage, "", LLAMA) for storage in ("float32", "as-file", "int8", "int4")]
    + [(storage, "loop", DEEP) for storage in ("as-file", "int8")],
)
def test_reading_a_folder_of_a_language_model_takes_the_memory_of_its_parameters_and_of_a_layer(
    tmp_path, storage, form, config
):
    network = networks.LanguageModel(**language_models.module_of(config).network_fields(config))
    like = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), np.zeros((1, 2), np.int32)))
    params = jax.tree.map(lambda leaf: leaf.astype(ml_dtypes.bfloat16), random_params(like))
    language_models.save(tmp_path / "folder", params, config)
    assert_small(storage, "language", tmp_path / "folder", form)
