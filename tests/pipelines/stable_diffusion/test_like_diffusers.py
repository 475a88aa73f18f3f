"""Tiny pipelines draw what those of diffusers draw from the same latents, without torch (make_fixture.py)."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from gendiff.pipelines.stable_diffusion import model_index
from tests.pipelines.stable_diffusion import peer_draws, tiny_folders
from tests.pipelines.stable_diffusion.peer_cases import CASES
from tests.pipelines.stable_diffusion.peer_draws import ours

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


@pytest.mark.parametrize(
    ("name", "decoded"),
    [("xl", False), ("flux", False), *(pytest.param(name, True, marks=pytest.mark.slow) for name in CASES)],
    ids=str,
)
def test_a_guided_run_ends_where_that_of_diffusers_does(tmp_path, name, decoded):
    case = CASES[name]
    folder = tiny_folders.write(tmp_path, case.folder, functools.partial(weights, case.folder))
    latents, pictures = ours(folder, case, written()[f"{name}: start"], decoded)
    expected = written()[f"{name}: latents"]
    assert expected.std() > 0.1 and np.abs(expected[0] - expected[1]).max() > 0.1
    np.testing.assert_allclose(latents, expected, atol=SAME * np.sqrt(np.mean(expected**2)))
    if decoded:
        np.testing.assert_allclose(pictures, written()[f"{name}: pictures"], atol=SAME)


@pytest.mark.slow
def test_fill_ends_where_that_of_diffusers_does(tmp_path):
    tiny_folders.write(tmp_path, "flux", functools.partial(weights, "flux"))
    index = tiny_folders.index("flux") | {"_class_name": "FluxFillPipeline"}
    (tmp_path / model_index.NAME).write_text(json.dumps(index))
    tiny_folders.write_part(
        tmp_path / "transformer", tiny_folders.FLUX | peer_draws.FILL, weights("fill", "transformer")
    )
    compare(peer_draws.filled(tmp_path), "fill")


@pytest.mark.slow
def test_a_class_ends_where_that_of_diffusers_does(tmp_path):
    tiny_folders.write(tmp_path, "dit", functools.partial(weights, "dit"))
    config = tiny_folders.DIT | peer_draws.CLASSES
    tiny_folders.write_part(tmp_path / "transformer", config, weights("dit", "transformer"))
    compare(peer_draws.of_class(tmp_path), "dit")


def compare(pictures, name):
    expected = written()[f"{name}: pictures"]
    assert expected.std() > 0.05
    np.testing.assert_allclose(pictures, expected, atol=SAME)
