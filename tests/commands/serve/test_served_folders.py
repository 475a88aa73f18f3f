"""Folders of every kind behind the server, with files and storages beside them: two requests that share steps are
answered with the pictures that their pipeline draws.
"""

import dataclasses
import json

import jax
import numpy as np
import pytest
import safetensors.numpy

from gendiff.commands.serve import folder_networks
from gendiff.commands.serve.compiled_steps import CompiledSteps
from gendiff.commands.serve.image_requests import ImageRequest
from gendiff.commands.serve.serve_options import ServeOptions
from gendiff.pipelines import stable_diffusion
from gendiff.pipelines.stable_diffusion import adapters, model_index, open_model
from gendiff.runs.progress import Progress
from tests.commands.serve.test_folder_networks import images_of, lightly
from tests.pipelines.stable_diffusion import single_files, test_original_files, test_packed_weights, tiny_folders
from tests.pipelines.stable_diffusion.test_adapters import LAYERS
from tests.quickly import quickly
from tests.weights.lora.lora_arrays import factors, in_file

pytest.importorskip("tokenizers", reason="needs the extra [text]")
pytest.importorskip("gguf", reason="needs the extra [language]")
__all__ = ["lightly"]
STEPS = 3
PACKED = 5e-3
"""Of pictures in [-1, 1]: rows that share a step meet packed kernels by floats, and one that is alone by integers."""


def of_gguf(folder, tmp_path):
    _, arrays = test_packed_weights.wide(folder, "flux")
    return {"weights": str(test_packed_weights.in_gguf(tmp_path, "flux", arrays))}


def of_single_file(folder, tmp_path):
    tiny_folders.write(folder, "flux")
    return {"weights": str(single_files.stored(test_original_files.transformer("flux"), tmp_path))}


def of_lora(name):
    def write(folder, tmp_path):
        tiny_folders.write(folder, name)
        arrays = in_file(factors(LAYERS[name][0]), "diffusion_model.", ".lora_down.weight", ".lora_up.weight", alpha=1)
        safetensors.numpy.save_file(arrays, tmp_path / "style.safetensors")
        return {"lora": (f"{tmp_path}/style.safetensors:0.5",)}

    return write


def plain(name, **options):
    def write(folder, tmp_path):
        tiny_folders.write(folder, name)
        return options

    return write


CASES = {
    **{name: (plain(name), 1e-4) for name in ("stable", "xl", "sd3", "flux", "z_image", "flux_2")},
    "flux, a single file": (of_single_file, 1e-4),
    "flux, GGUF": (of_gguf, PACKED),
    "flux, int8": (plain("flux", storage="int8"), PACKED),
    "flux, LoRA": (of_lora("flux"), 1e-4),
    "sd3, LoRA": (of_lora("sd3"), 1e-4),
}
"""Name -> (what writes the folder and says the options, how far pictures may differ)."""


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_folder_is_served_with_the_pictures_of_its_pipeline(lightly, tmp_path, name):
    write, tolerance = CASES[name]
    folder = tmp_path / "model"
    options = write(folder, tmp_path)
    served = folder_networks.read(ServeOptions(**options), folder, Progress(quiet=True))
    requests = [
        ImageRequest(prompt, steps=STEPS, guidance=guidance, seed=seed)
        for prompt, guidance, seed in (("red cat", 2.0, 5), ("a dog", 1.5, 6))
    ]
    pictures = images_of(CompiledSteps(served, 2, STEPS), requests, served)
    lora = options.pop("lora", ())
    model = open_model(folder, **options)
    params = {part: model.part_params(part) for part in model.parts}
    for file in lora:
        params = adapters.adapted(model, params, file.removesuffix(":0.5"), 0.5)
    params, pipeline = stable_diffusion.arranged(params), model.pipeline(STEPS)
    draw = quickly(lambda *arguments: pipeline(*arguments))
    for request, picture in zip(requests, pictures, strict=True):
        negative = model.negative() if model.index.kind.guided else None
        inputs = (
            params,
            jax.random.key(request.seed),
            model.prompt(request.prompt),
            negative,
            np.float32(request.guidance),
        )
        np.testing.assert_allclose(picture, draw(*inputs, np.arange(1))[0], rtol=0, atol=tolerance)
        assert picture.std() > 10 * tolerance


def a_mask(served):
    """Whole latents, the lower half, are drawn anew, where all rules for the mask of latents agree."""
    mask = np.zeros((served.height, served.width, 1), np.float32)
    mask[served.height // 2 :] = 1
    return mask


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stable", "flux", "flux_2"])
def test_a_part_of_a_picture_is_drawn_anew_as_the_pipeline_of_its_folder_does(lightly, tmp_path, name):
    """The noise of what is kept is fresh in each step, and that of the beginning where the sampler has memory."""
    folder = tiny_folders.write(tmp_path / "model", name)
    served = folder_networks.read(ServeOptions(), folder, Progress(quiet=True))
    picture = np.random.default_rng(0).uniform(-1, 1, (served.height, served.width, 3)).astype(np.float32)
    plain = ImageRequest("red cat", steps=STEPS, guidance=2.0, seed=5, first=1, picture=picture)
    requests = [dataclasses.replace(plain, mask=a_mask(served)), plain]
    results = images_of(CompiledSteps(served, 2, STEPS), requests, served)
    model = open_model(folder)
    pipeline, params = model.pipeline(STEPS), model.params()
    remembers = bool(jax.tree.leaves(jax.eval_shape(served.sampler.init, np.zeros((1, *served.shape))).memory))
    draw = quickly(lambda change, *arguments: pipeline(*arguments, change=change))
    negative = model.negative() if model.index.kind.guided else None
    inputs = params, jax.random.key(5), model.prompt("red cat"), negative, np.float32(2.0), np.arange(1)
    for request, result in zip(requests, results, strict=True):
        mask = None if request.mask is None else request.mask[None]
        change = stable_diffusion.edit(picture[None], mask, first=1, like_diffusers=remembers)
        np.testing.assert_allclose(result, draw(change, *inputs)[0], rtol=0, atol=1e-4)
    half = served.height // 2
    np.testing.assert_array_equal(results[0][:half], picture[:half])
    assert np.abs(results[0] - results[1])[half:].max() > 1e-3


READING = {"kontext": ("flux", "FluxKontextPipeline", 1), "klein": ("flux_2", "Flux2KleinPipeline", 2)}
"""Name -> (the folder, its pipeline, how many pictures a request has)."""


@pytest.mark.slow
@pytest.mark.parametrize("name", READING)
def test_pictures_are_read_beside_the_prompt_as_the_pipeline_reads_them(lightly, tmp_path, name):
    parts, pipeline, count = READING[name]
    folder = tiny_folders.write(tmp_path / "model", parts)
    entries = tiny_folders.index(parts) | {"_class_name": pipeline}
    (folder / model_index.NAME).write_text(json.dumps(entries))
    served = folder_networks.read(ServeOptions(), folder, Progress(quiet=True))
    assert served.references == count
    rng = np.random.default_rng(0)
    pictures = [rng.uniform(-1, 1, (served.height, served.width, 3)).astype(np.float32) for _ in range(count)]
    plain = ImageRequest("red cat", steps=STEPS, guidance=2.0, seed=5)
    reading = dataclasses.replace(plain, references=tuple(pictures))
    requests = [reading, plain, dataclasses.replace(reading, mask=a_mask(served))]
    results = images_of(CompiledSteps(served, 3, STEPS), requests, served)
    model = open_model(folder)
    draw, params = model.pipeline(STEPS), model.params()
    inputs = params, jax.random.key(5), model.prompt("red cat"), None, np.float32(2.0), np.arange(1)
    draw_one = quickly(lambda change, *arguments: draw(*arguments[:-1], references=arguments[-1], change=change))
    references = tuple(picture[None] for picture in pictures)
    half = a_mask(served)[None]
    for result, mask in ((results[0], np.ones_like(half)), (results[2], half)):  # of ones, a mask keeps nothing
        change = stable_diffusion.edit(references[0], mask)
        np.testing.assert_allclose(result, draw_one(change, *inputs, references)[0], rtol=0, atol=1e-4)
    assert np.abs(results[0] - results[1]).max() > 1e-2
