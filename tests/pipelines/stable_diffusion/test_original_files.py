"""A single file in the original layout takes the place of a folder's transformer, and of other parts that it holds."""

import dataclasses

import numpy as np
import pytest

from gendiff.core.errors import CheckpointMismatchError, DataError
from gendiff.pipelines.stable_diffusion import inspect, open_model
from gendiff.weights import latent_diffusion
from tests.pipelines.stable_diffusion import tiny_folders
from tests.pipelines.stable_diffusion.single_files import stored
from tests.tables import table
from tests.weights import rig
from tests.weights.diffusers.original_layout import of_diffusers, original
from tests.weights.quantised import gguf_files

pytest.importorskip("tokenizers", reason="needs the extra [text]")
pytest.importorskip("gguf", reason="needs the extra [language]")

PREFIX = "model.diffusion_model."
LAYER = "double_blocks.0.img_attn.qkv.weight"
ARCHITECTURES = {"flux": "flux", "flux_2": "flux", "sd3": "sd3", "z_image": "lumina2"}
TEXTS = {
    "flux": {"text_encoder": "clip_l", "text_encoder_2": "t5xxl"},
    "sd3": {"text_encoder": "clip_l", "text_encoder_2": "clip_g", "text_encoder_3": "t5xxl"},
    "z_image": {"text_encoder": "qwen3_4b"},
}
PIXELS = tuple(f"attn_1.{part}.weight" for part in ("q", "k", "v", "proj_out"))
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("sd3", "z_image", "flux_2")]
"""Tracing a network takes a second."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_folders.Folders(tmp_path_factory.mktemp("folders"))


def changed(name, part):
    """Other arrays of a part than those of a folder."""
    arrays = of_diffusers(name) if part == "transformer" else tiny_folders.arrays_of(name, part)
    return {key: array * 2 for key, array in arrays.items()}


def transformer(name):
    """Those of the transformer in the original layout."""
    config = tiny_folders.FOLDERS[name][2]["transformer"]
    return original(changed(name, "transformer"), config["_class_name"], config.get("num_layers", 0))


def in_gguf(arrays, folder, architecture):
    file = folder / "model.gguf"
    file.write_bytes(gguf_files.gguf_bytes({"general.architecture": architecture}, arrays))
    return file


def all_in_one(name):
    """All parts as ComfyUI saves them."""
    result = {PREFIX + key: array for key, array in transformer(name).items()}
    for part, encoder in TEXTS[name].items():
        result |= {f"text_encoders.{encoder}.transformer.{key}": array for key, array in changed(name, part).items()}
        if encoder != "qwen3_4b":
            result[f"text_encoders.{encoder}.logit_scale"] = np.ones(())
    if name == "flux":  # its encoder has no projection
        result["text_encoders.clip_l.transformer.text_projection.weight"] = np.ones((8, 8))
    names = latent_diffusion.autoencoder_names(tiny_folders.FOLDERS[name][2]["vae"])
    vae = rig.in_single_file(changed(name, "vae"), "vae.", names)
    return result | {key: array[:, :, None, None] if key.endswith(PIXELS) else array for key, array in vae.items()}


def assert_changed(model, name, parts):
    """The parameters of these parts are the changed ones."""
    for part in parts:
        expected = dataclasses.replace(model.parts[part], arrays=changed(name, part), single=None)
        assert rig.equal(model.part_params(part), expected.params())


@pytest.mark.parametrize("name", ["flux", *SLOW])
def test_the_transformer_is_that_of_the_file_and_the_other_parts_are_those_of_the_folder(folders, tmp_path, name):
    arrays = transformer(name)
    for prefix, write in (("", stored), (PREFIX, stored), ("", in_gguf)):
        named = {prefix + key: array for key, array in arrays.items()}
        file = write(named, tmp_path, *(() if write is stored else (ARCHITECTURES[name],)))
        model = open_model(folders[name], weights=file)
        assert {part.name: part.single for part in model.parts.values() if part.single} == {"transformer": file}
        assert_changed(model, name, ("transformer",))


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in TEXTS])
def test_a_file_of_all_parts_needs_no_weights_of_the_folder(tmp_path, name):
    bare = tiny_folders.write(tmp_path / "bare", name, lambda part: {"x": np.zeros(1, np.float32)})
    for file in bare.rglob("*.safetensors"):
        file.unlink()
    model = open_model(bare, weights=stored(all_in_one(name), tmp_path))
    assert_changed(model, name, model.parts)


@pytest.mark.slow
def test_what_a_file_holds_is_inspected_by_kinds_of_numbers(tmp_path):
    folder, arrays = tiny_folders.write(tmp_path / "flux", "flux"), transformer("flux")
    half = {"img_in.weight": ("F16", arrays["img_in.weight"].shape, arrays["img_in.weight"].astype("<f2").tobytes())}
    report = inspect(folder, weights=in_gguf(arrays | half, tmp_path, "flux"))
    part = next(part for part in report.parts if part.name == "transformer")
    assert not report.problems and (part.files, part.types) == (("model.gguf",), ("F16", "F32"))
    assert part.parameters == sum(array.size for array in arrays.values()) and 0 < part.nbytes < 4 * part.parameters


def without(name):
    return lambda arrays: {key: array for key, array in arrays.items() if key != name}


def renamed(name, other):
    return lambda arrays: {other if key == name else key: array for key, array in arrays.items()}


BAD = {
    "an array too few": (without("txt_in.bias"), "1 missing: context_embedder.bias"),
    "layers too few": (without(LAYER), "3 missing: transformer_blocks.0.attn.to_q.weight"),
    "an array too many": (lambda a: a | {"extra.weight": np.ones(2)}, "1 left over: extra.weight"),
    "another name": (
        renamed(LAYER, LAYER.replace("qkv", "qvk")),
        "3 missing: .*1 left over: double_blocks.0.img_attn.qvk.weight",
    ),
    "a block too many": (
        lambda a: a | {"single_blocks.7.linear2.weight": np.ones((16, 80))},
        "1 left over: single_transformer_blocks.7.proj_out.weight",
    ),
    "another width": (
        lambda a: a | {"img_in.weight": np.ones((8, 16))},
        r"x_embedder.weight has shape \(8, 16\)",
    ),
    "an array of no part": (
        lambda a: {PREFIX + key: array for key, array in a.items()} | {"control.x": np.ones(1)},
        "1 arrays belong to none of .*: control.x",
    ),
    "another model": (lambda _: of_diffusers("sd3"), "left over: pos_embed"),
    "nothing": (lambda _: {}, "has no transformer"),
}


@pytest.mark.fault("weights: names missing or left over")
@table("change, message", BAD.values())
def test_what_does_not_fit_is_refused_by_name_before_any_array_is_read(folders, tmp_path, change, message):
    arrays = change(transformer("flux"))
    for file in (stored(arrays, tmp_path), in_gguf(arrays, tmp_path, "flux")):
        with pytest.raises(CheckpointMismatchError, match=message) as raised:
            open_model(folders["flux"], weights=file)
        assert str(raised.value).startswith(str(file))


def cut(file):
    file.write_bytes(file.read_bytes()[:-9])
    return file


FILES = {
    "a file that is cut off": (
        "flux",
        lambda folder: cut(stored(transformer("flux"), folder)),
        "not a whole safetensors",
    ),
    "GGUF that is cut off": (
        "flux",
        lambda folder: cut(in_gguf(transformer("flux"), folder, "flux")),
        "not a whole GGUF",
    ),
    "GGUF of another model": (
        "flux",
        lambda folder: in_gguf({}, folder, "sd3"),
        "general.architecture = 'sd3', and that of FLUX.1 is 'flux'",
    ),
    "GGUF for a model without a transformer": (
        "stable",
        lambda folder: in_gguf({}, folder, "sd1"),
        "a GGUF file holds a transformer, and Stable Diffusion has none",
    ),
    "no file": ("flux", lambda folder: folder / "none.gguf", "no such file"),
    "a pickle": ("flux", lambda folder: folder / "flux.ckpt", "a pickle can run code"),
}


@pytest.mark.fault("weights: names missing or left over")
@table("name, write, message", FILES.values())
def test_other_files_are_refused_path_first(folders, tmp_path, name, write, message):
    file = write(tmp_path)
    with pytest.raises(DataError, match=message) as raised:
        open_model(folders[name], weights=file)
    assert str(raised.value).startswith(str(file))
