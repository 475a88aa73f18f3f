"""Each kind of folder with each fault of its arrays, in each part: one error names the part and the array or file."""

import re

import numpy as np
import pytest
import safetensors.numpy

from gendiff.core.errors import CheckpointMismatchError, DataError
from tests.pipelines.stable_diffusion import peer_draws, tiny_folders
from tests.pipelines.stable_diffusion.refused_folder import refuse_to_open
from tests.variants import some_slow

pytest.importorskip("tokenizers", reason="needs the extra [text]")
pytest.importorskip("jinja2", reason="needs the extra [language]")

KINDS = (*tiny_folders.FOLDERS, "kontext", "fill")


def renamed(arrays, name, other):
    return {other if key == name else key: array for key, array in arrays.items()}


FAULTS = {
    "missing": (
        lambda arrays, name: {key: array for key, array in arrays.items() if key != name},
        "1 missing: {name} ",
    ),
    "extra": (lambda arrays, name: arrays | {"extra.weight": np.zeros(1, np.float32)}, "1 left over: extra.weight$"),
    "misnamed": (
        lambda arrays, name: renamed(arrays, name, f"{name}.other"),
        "1 missing: {name} .*1 left over: {name}.other$",
    ),
    "wrong shape": (
        lambda arrays, name: arrays | {name: np.concatenate([arrays[name]] * 2)},
        "1 wrong: {name} has shape",
    ),
}
"""Name -> (arrays and one of their names -> the arrays with a fault, words of the error)."""


def written(root, kind):
    if kind == "kontext":
        return tiny_folders.written_as(root, "flux", "FluxKontextPipeline")
    if kind != "fill":
        return tiny_folders.write(root, kind)
    folder, config = tiny_folders.written_as(root, "flux", "FluxFillPipeline"), tiny_folders.FLUX | peer_draws.FILL
    tiny_folders.write_part(folder / "transformer", config, tiny_folders.arrays_by("flux", "transformer", config))
    return folder


@pytest.mark.fault("weights: a folder of diffusers that cannot be followed")
@pytest.mark.parametrize("kind", some_slow(KINDS, set(KINDS) - {"stable", "dit", "flux"}))
def test_faulty_arrays_are_refused_by_name_with_nothing_loaded(tmp_path, kind):
    folder = written(tmp_path / "model", kind)
    files = sorted(folder.rglob("*.safetensors"))
    assert len(files) == len({file.parent for file in files}) >= 2
    for file in files:
        content, arrays = file.read_bytes(), safetensors.numpy.load_file(file)
        part, name = re.escape(str(file.parent)), next(name for name in sorted(arrays) if name.endswith(".weight"))
        for change, words in FAULTS.values():
            safetensors.numpy.save_file(change(arrays, name), file)
            message = f"^{part}: the weights do not fit the network: {words.format(name=re.escape(name))}"
            refuse_to_open(folder, message, CheckpointMismatchError)
        file.write_bytes(content[:-9])
        refuse_to_open(folder, f"^{re.escape(str(file))}: not a whole safetensors file", DataError)
        file.write_bytes(content)
