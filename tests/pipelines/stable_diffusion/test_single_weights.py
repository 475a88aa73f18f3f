"""A single file of weights beside the settings of a folder: every array in its part, and one error for whatever is
wrong.
"""

import numpy as np
import pytest

from gendiff.core.errors import CheckpointMismatchError, DataError
from gendiff.pipelines.stable_diffusion import inspect, open_model
from gendiff.weights import streamed
from tests.pipelines.stable_diffusion import tiny_folders
from tests.pipelines.stable_diffusion.single_files import in_one_file, stored
from tests.tables import table
from tests.weights import rig

pytest.importorskip("tokenizers", reason="needs the extra [text]")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Folders that hold no weights."""
    folder = tmp_path_factory.mktemp("settings")
    folders = {name: tiny_folders.without_weights(folder / name, name) for name in ("stable", "xl", "refiner", "dit")}
    return folders | {"second": folders["stable"]}


@pytest.mark.parametrize(
    "name", ["second", "xl", *(pytest.param(name, marks=pytest.mark.slow) for name in ("stable", "refiner"))]
)
def test_the_parameters_are_those_of_the_folder(settings, tmp_path, name):
    folder = "stable" if name == "second" else name
    full = open_model(tiny_folders.write(tmp_path / "whole", folder)).params()
    model = open_model(settings[name], weights=stored(in_one_file(name), tmp_path))
    assert rig.equal(model.params(), full)


def test_arrays_stay_in_the_file_and_parts_of_one_are_parts_of_it(tmp_path):
    rows = np.arange(24, dtype=np.float16).reshape(6, 4)
    array = streamed.open_file(stored({"a": np.zeros(3), "b": rows}, tmp_path, np.float16))["b"]
    np.testing.assert_array_equal(np.asarray(array.rows(2, 2)), rows[2:4])
    np.testing.assert_array_equal(np.asarray(array.reshaped((4, 6))), rows.reshape(4, 6))


def test_a_file_can_be_inspected_with_its_settings(settings, tmp_path):
    result = inspect(settings["stable"], weights=stored(in_one_file("stable"), tmp_path))
    assert (
        not result.problems
        and result.nbytes > 0
        and {"model.safetensors"} == {file for part in result.parts for file in part.files}
    )


def without(prefix):
    return lambda arrays: {key: array for key, array in arrays.items() if not key.startswith(prefix)}


BAD = {
    "no text": (
        without("cond_stage_model."),
        CheckpointMismatchError,
        "has no text_encoder: no array begins with 'cond_stage_model.trans",
    ),
    "no network": (without("model.diffusion_model."), CheckpointMismatchError, "has no unet"),
    "of no part": (
        lambda arrays: arrays | {"control.x": np.ones(1)},
        CheckpointMismatchError,
        "1 arrays belong to none of .*: control.x",
    ),
    "an array too few": (
        without("first_stage_model.decoder.conv_out.bias"),
        CheckpointMismatchError,
        "decoder.conv_out.bias",
    ),
    "an array too many": (
        lambda arrays: arrays | {"first_stage_model.loss.x": np.ones(1)},
        CheckpointMismatchError,
        "1 left over: loss.x",
    ),
}


@pytest.mark.fault("weights: names missing or left over")
@table("name", BAD)
def test_what_does_not_fit_is_refused_by_the_file(settings, tmp_path, name):
    change, error, words = BAD[name]
    file = stored(change(in_one_file("stable")), tmp_path)
    with pytest.raises(error, match=words) as raised:
        model = open_model(settings["stable"], weights=file)
        for part in model.parts.values():
            part.check()
    assert str(raised.value).startswith(str(file))


def test_a_file_is_for_stable_diffusion_and_takes_no_variant(settings, tmp_path):
    file = stored({"x": np.ones(1)}, tmp_path)
    with pytest.raises(DataError, match="is for Stable Diffusion, FLUX and Z-Image, and this is DiT"):
        open_model(settings["dit"], weights=file)
    with pytest.raises(ValueError, match="variant = 'fp16' is for files of the folder"):
        open_model(settings["stable"], weights=file, variant="fp16")
    with pytest.raises(DataError, match="not a whole safetensors file"):
        (tmp_path / "bad.safetensors").write_bytes(b"\x00" * 20)
        open_model(settings["stable"], weights=tmp_path / "bad.safetensors")
    with pytest.raises(DataError, match="goes with the folder of the same model's settings"):
        open_model(file)
