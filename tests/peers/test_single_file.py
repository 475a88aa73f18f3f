"""The text encoders of a single file of Stable Diffusion become the arrays that diffusers makes of them."""

import types

import numpy as np
import pytest

from gendiff.weights import single_file

torch = pytest.importorskip("torch", reason="needs torch and diffusers: make test-peers")
pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

from diffusers.loaders import single_file_utils  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

WIDTH = 8


def open_clip(prefix, blocks):
    """Random arrays of an encoder of OpenCLIP under the names of a single file."""
    rng, block = np.random.default_rng(0), "transformer.resblocks.{}."
    shapes = {
        "token_embedding.weight": (20, WIDTH),
        "positional_embedding": (9, WIDTH),
        "text_projection": (WIDTH, WIDTH),
    }
    shapes |= {"ln_final.weight": (WIDTH,), "ln_final.bias": (WIDTH,)}
    for number in range(blocks):
        prefix = block.format(number)
        shapes |= {f"{prefix}attn.in_proj_weight": (3 * WIDTH, WIDTH), f"{prefix}attn.in_proj_bias": (3 * WIDTH,)}
        shapes |= {f"{prefix}mlp.c_fc.weight": (4 * WIDTH, WIDTH), f"{prefix}mlp.c_fc.bias": (4 * WIDTH,)}
        shapes |= {f"{prefix}mlp.c_proj.weight": (WIDTH, 4 * WIDTH), f"{prefix}mlp.c_proj.bias": (WIDTH,)}
        shapes |= {f"{prefix}attn.out_proj.weight": (WIDTH, WIDTH), f"{prefix}attn.out_proj.bias": (WIDTH,)}
        shapes |= {f"{prefix}{norm}.{kind}": (WIDTH,) for norm in ("ln_1", "ln_2") for kind in ("weight", "bias")}
    return {f"{prefix}{name}": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("part", "prefix", "kind"),
    [
        ("text_encoder", "cond_stage_model.model.", "CLIPTextModel"),
        ("text_encoder_2", "conditioner.embedders.1.model.", "CLIPTextModelWithProjection"),
        ("text_encoder_2", "conditioner.embedders.0.model.", "CLIPTextModelWithProjection"),
    ],
)
def test_an_encoder_of_open_clip_has_the_arrays_of_diffusers(part, prefix, kind):
    arrays = open_clip(prefix, 3)
    model = types.SimpleNamespace(config=types.SimpleNamespace(hidden_size=WIDTH))
    theirs = single_file_utils.convert_open_clip_checkpoint(
        model, {name: torch.tensor(array) for name, array in arrays.items()}, prefix=prefix
    )
    ours = single_file.parts(arrays, {part: {"num_hidden_layers": 3, "architectures": [kind]}})[part]
    if kind == "CLIPTextModel":  # theirs leaves it out where it is loaded
        theirs.pop("text_projection.weight", None)
    names = {name if name.startswith("text_") else f"text_model.{name}": value for name, value in theirs.items()}
    assert set(ours) == set(names)
    for name, value in names.items():
        np.testing.assert_array_equal(np.asarray(ours[name]), value.numpy())
