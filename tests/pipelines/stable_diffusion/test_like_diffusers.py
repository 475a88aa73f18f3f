"""Tiny pipelines draw what those of diffusers draw from the same latents, without torch (make_fixture.py)."""

import functools
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from gendiff.pipelines.stable_diffusion import aligned, open_model
from tests.pipelines.stable_diffusion import tiny_folders
from tests.pipelines.stable_diffusion.peer_cases import CASES
from tests.quickly import quickly

pytestmark = pytest.mark.numbers

pytest.importorskip("tokenizers", reason="needs the extra [text]")

SAME = 3e-4


@functools.cache
def written():
    return safetensors.numpy.load_file(Path(__file__).with_name("fixture.safetensors"))


def weights(name, part):
    """Of a part, as diffusers wrote them."""
    begin = f"{name}/{part}/"
    return {key.removeprefix(begin): array for key, array in written().items() if key.startswith(begin)}


def samples(folder, case, start, decoded):
    """(latents, pictures in [0, 1]) of ours; no pictures unless they are decoded."""
    model = open_model(folder, like_diffusers=True)
    pipeline = model.pipeline(case.steps)
    prompt, negative = aligned(model.prompt(case.prompts), model.negative([case.negative or ""] * len(case.prompts)))

    def draw(params, start):
        condition, away = pipeline.conditions(params, prompt, negative)
        index = np.arange(len(case.prompts), dtype=np.int32)
        latents = pipeline.latent.latents(params, jax.random.key(0), condition, away, case.scale, index, start=start)
        return latents, pipeline.latent.finished(params, latents) if decoded else None

    latents, pictures = quickly(draw)(model.params(), start)
    return np.asarray(latents), None if pictures is None else np.clip((np.asarray(pictures) + 1) / 2, 0, 1)


@pytest.mark.parametrize(
    ("name", "decoded"), [("xl", False), *(pytest.param(name, True, marks=pytest.mark.slow) for name in CASES)], ids=str
)
def test_a_guided_run_ends_where_that_of_diffusers_does(tmp_path, name, decoded):
    case = CASES[name]
    folder = tiny_folders.write(tmp_path, case.folder, functools.partial(weights, name))
    latents, pictures = samples(folder, case, written()[f"{name}: start"], decoded)
    expected = written()[f"{name}: latents"]
    assert expected.std() > 0.1 and np.abs(expected[0] - expected[1]).max() > 0.1
    np.testing.assert_allclose(latents, expected, atol=SAME * np.sqrt(np.mean(expected**2)))
    if decoded:
        np.testing.assert_allclose(pictures, written()[f"{name}: pictures"], atol=SAME)
