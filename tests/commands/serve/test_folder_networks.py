"""A folder of diffusers behind the server draws what its pipeline draws; what the server cannot do is refused."""

import dataclasses
import functools
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from gendiff.commands.serve import folder_networks
from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.serve.batching import Batcher
from gendiff.commands.serve.compiled_steps import CompiledSteps
from gendiff.commands.serve.image_requests import ImageRequest
from gendiff.commands.serve.serve_options import ServeOptions
from gendiff.core import records
from gendiff.core.errors import ConfigError
from gendiff.diffusion import grids, samplers
from gendiff.diffusion.samplers.fixed_path import FixedPath
from gendiff.networks import lora
from gendiff.networks.lora import LowRank
from gendiff.pipelines import stable_diffusion
from gendiff.pipelines.stable_diffusion import adapters, model_index, open_model
from gendiff.runs import devices
from gendiff.runs.progress import Progress
from gendiff.weights import lora_files
from tests.pipelines.stable_diffusion import cheap_parts, tiny_folders
from tests.pipelines.stable_diffusion.single_files import in_one_file, stored
from tests.quickly import quickly
from tests.tables import table
from tests.weights import rig

MOST = 4
GRID = functools.partial(grids.trailing, cheap_parts.SCHEDULE)
DRAW = quickly(lambda pipeline, *arguments: pipeline(*arguments))


def read(text, too_long):
    if len(text) > 20:
        raise ValueError("a prompt has 21 tokens and 20 are read; shorten it, or take too_long = 'chunks'")
    return cheap_parts.prompt(len(text))


@pytest.fixture
def lightly(monkeypatch):
    monkeypatch.setattr(devices, "jit", lambda draw, libraries=True, **options: quickly(draw, **options))


def opened(kind=model_index.STABLE):
    """What the server asks of an opened folder."""
    index = SimpleNamespace(folder=Path("/models/tiny"), kind=kind, pipeline="StableDiffusionPipeline")
    return SimpleNamespace(
        index=index,
        scheduler=SimpleNamespace(schedule=cheap_parts.SCHEDULE),
        grid=lambda steps, height, width: GRID(steps),
        prompt=read,
        negative=read,
        dtype="float32",
        storage="full",
    )


def images_of(programs, requests, served):
    """The picture of each request, drawn together."""
    batcher, events = Batcher(programs, 8), []
    for request in requests:
        events.append([])
        batcher.submit(request, served.read(request.prompt, request.negative), events[-1].append)
    while batcher.turn():
        pass
    return [event.picture for (event,) in events]


@pytest.mark.parametrize("image_size", ["score", pytest.param(False, marks=pytest.mark.slow)])
def test_a_picture_is_that_of_the_folders_pipeline(lightly, image_size):
    pipeline = cheap_parts.pipeline(image_size=image_size)
    served = dataclasses.replace(folder_networks.served(opened(), pipeline), params=cheap_parts.PARAMS)
    assert (served.name, served.width, served.height, served.most_steps) == ("tiny", 8, 4, 100)
    requests = [
        ImageRequest("a red cat", "dog", steps=MOST, guidance=3.0, seed=5),
        ImageRequest("cat", steps=MOST, guidance=0.5, seed=6),
    ]
    pictures = images_of(CompiledSteps(served, 2, MOST), requests, served)
    for request, picture in zip(requests, pictures, strict=True):
        of_grid = records.replace(pipeline, latent=records.replace(pipeline.latent, levels=GRID(request.steps)))
        texts = read(request.prompt, ""), read(request.negative, "")
        alone = DRAW(
            of_grid,
            cheap_parts.PARAMS,
            jax.random.key(request.seed),
            *texts,
            np.float32(request.guidance),
            np.arange(1),
        )
        np.testing.assert_allclose(picture, alone[0], atol=1e-5)


def test_a_model_without_guidance_is_told_the_scale_and_takes_no_negative_prompt(lightly):
    pipeline = cheap_parts.pipeline(embedded_scale=3.5, predict=cheap_parts.predict_of_scale)
    served = dataclasses.replace(folder_networks.served(opened(model_index.FLUX), pipeline), params=cheap_parts.PARAMS)
    requests = [ImageRequest("cat", steps=MOST, guidance=scale, seed=5) for scale in (3.0, 0.5)]
    pictures = images_of(CompiledSteps(served, 2, MOST), requests, served)
    of_grid = records.replace(pipeline, latent=records.replace(pipeline.latent, levels=GRID(MOST)))
    arguments = cheap_parts.PARAMS, jax.random.key(5), read("cat", ""), None, np.float32([3.0, 0.5]), np.zeros(2, int)
    np.testing.assert_allclose(pictures, DRAW(of_grid, *arguments), atol=1e-5)
    assert np.abs(pictures[0] - pictures[1]).max() > 0.1
    with pytest.raises(ApiError, match=r"negative_prompt: FLUX.1 is drawn without one"):
        served.read("cat", "dog")


@pytest.mark.parametrize("first", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_part_of_a_picture_is_drawn_anew_as_the_folders_pipeline_does(lightly, first):
    pipeline, picture, mask = cheap_parts.pipeline(), cheap_parts.picture(), cheap_parts.mask()
    served = dataclasses.replace(folder_networks.served(opened(), pipeline), params=cheap_parts.PARAMS)
    request = ImageRequest("cat", "dog", steps=MOST, guidance=3.0, seed=5, first=first, picture=picture[0])
    requests = [dataclasses.replace(request, mask=mask[0]), request]
    masked, edited = images_of(CompiledSteps(served, 2, MOST), requests, served)
    of_grid = records.replace(pipeline, latent=records.replace(pipeline.latent, levels=GRID(MOST)))
    arguments = cheap_parts.PARAMS, jax.random.key(5), read("cat", ""), read("dog", ""), np.float32(3.0), np.arange(1)
    draw = quickly(lambda change, *arguments: of_grid(*arguments, change=change))
    np.testing.assert_allclose(
        masked, draw(stable_diffusion.edit(picture, mask, first=first), *arguments)[0], atol=1e-5
    )
    np.testing.assert_array_equal(masked[mask[0, ..., 0] == 0], picture[0][mask[0, ..., 0] == 0])
    assert np.abs(masked - edited).max() > 0.01


def reads_pictures(params, x, t, text, references=None):
    moved = 0.0
    for number, image in enumerate([] if references is None else references.images, 1):
        moved += number * image.mean((1, 2, 3))[:, None, None, None]
    return cheap_parts.predict(params, x, t, text) + moved


def test_pictures_are_read_beside_the_prompt_of_one_request_and_others_share_its_turns(lightly):
    pipeline, kind = (
        cheap_parts.pipeline(predict=reads_pictures),
        dataclasses.replace(model_index.STABLE, references=10),
    )
    served = dataclasses.replace(folder_networks.served(opened(kind), pipeline), params=cheap_parts.PARAMS)
    pictures = [cheap_parts.picture(seed)[0] for seed in range(2)]
    plain = ImageRequest("cat", "dog", steps=MOST, guidance=3.0, seed=5)
    reading = [dataclasses.replace(plain, references=each) for each in ((pictures[0],), tuple(pictures))]
    programs = CompiledSteps(served, 3, MOST)
    assert tuple(programs.warm()) == programs.sizes
    results = images_of(programs, [reading[0], plain, reading[1]], served)
    of_grid = records.replace(pipeline, latent=records.replace(pipeline.latent, levels=GRID(MOST)))
    arguments = cheap_parts.PARAMS, jax.random.key(5), read("cat", ""), read("dog", ""), np.float32(3.0), np.arange(1)
    for result, references in zip(
        results, [(pictures[0][None],), (), tuple(each[None] for each in pictures)], strict=True
    ):
        alone = quickly(lambda *inputs, images=references: of_grid(*inputs, references=images))(*arguments)
        np.testing.assert_allclose(result, alone[0], atol=1e-5)


def test_a_prompt_of_more_than_one_row_is_refused_with_its_field():
    served = folder_networks.served(opened(), cheap_parts.pipeline())
    with pytest.raises(
        ApiError, match="negative_prompt: a prompt has 21 tokens and 20 are read; shorten it$"
    ) as refused:
        served.read("cat", "a" * 21)
    assert refused.value.field == "negative_prompt" and refused.value.status == 400


def test_masks_go_with_every_sampler_but_one_with_noise_of_its_own():
    for sampler, masks in (
        (samplers.pndm(), True),
        (samplers.ddim(1.0), True),
        (FixedPath(samplers.ddim(), 1e-5), False),
    ):
        assert folder_networks.served(opened(), cheap_parts.pipeline(sampler)).masks == masks


@table(
    ("kind", "paints", "sampler", "message"),
    [
        (model_index.CLASSES, False, None, "draws classes: serve needs a model that draws prompts"),
        (model_index.STABLE, True, None, "paints into a picture"),
        (model_index.STABLE, False, "dimm", "did you mean"),
    ],
)
def test_a_folder_that_cannot_be_served_is_refused_before_its_parameters_are_read(
    monkeypatch, kind, paints, sampler, message
):
    model = opened()
    model.index.kind, model.paints = kind, paints
    monkeypatch.setattr(folder_networks.folders, "opened", lambda *arguments: model)
    with pytest.raises(ConfigError, match=message):
        folder_networks.read(ServeOptions(sampler=sampler), Path("/models/tiny"), Progress(quiet=True))


@pytest.mark.slow
def test_a_tiny_folder_is_read_and_drawn_but_not_at_a_size_that_it_cannot(lightly, tmp_path):
    pytest.importorskip("tokenizers", reason="needs the extra [text]")
    folder = tiny_folders.write(tmp_path / "stable", "stable")
    with pytest.raises(ConfigError, match="height = 18 must be a multiple of 4"):
        folder_networks.read(ServeOptions(height=18), folder, Progress(quiet=True))
    served = folder_networks.read(ServeOptions(), folder, Progress(quiet=True))
    programs = CompiledSteps(served, 1, 3)
    assert tuple(programs.warm()) == programs.sizes
    first, second = images_of(
        programs, [ImageRequest("red cat", steps=3, seed=1), ImageRequest("red dog", steps=2, seed=1)], served
    )
    assert first.shape == (served.height, served.width, 3) == (16, 16, 3) and np.abs(first - second).max() > 0


def test_a_single_file_takes_the_place_of_the_weights_and_lora_files_change_them(tmp_path):
    pytest.importorskip("tokenizers", reason="needs the extra [text]")
    folder, file = tiny_folders.without_weights(tmp_path / "model", "stable"), stored(in_one_file("stable"), tmp_path)
    model = open_model(folder, weights=file)
    rng = np.random.default_rng(0)
    change = LowRank(*(rng.normal(size=shape).astype(np.float32) for shape in ((8, 2), (2, 32))))
    changes = {"text_encoder": {"block_1": {"mlp_0": {"kernel": change}}}}
    lora_files.save(tmp_path / "style.safetensors", changes, adapters.adaptable(model))
    options = ServeOptions(
        weights=str(file), lora=(f"{tmp_path}/style.safetensors:0.5", f"{tmp_path}/style.safetensors")
    )
    served = folder_networks.read(options, folder, Progress(quiet=True))
    params = {name: model.part_params(name) for name in model.parts}
    for strength in (0.5, 1.0):
        params["text_encoder"] = lora.merge(params["text_encoder"], changes["text_encoder"], strength)
    assert rig.equal(served.params, stable_diffusion.arranged(params))
