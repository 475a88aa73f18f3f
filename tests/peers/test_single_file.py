"""Text encoders and transformers of single files become the arrays that diffusers makes of them."""

import types

import numpy as np
import pytest

from gendiff.weights import single_file
from tests.weights.diffusers.original_layout import original

torch = pytest.importorskip("torch", reason="needs torch and diffusers: make test-peers")
diffusers = pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

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
        beginning = block.format(number)
        shapes |= {f"{beginning}attn.in_proj_weight": (3 * WIDTH, WIDTH), f"{beginning}attn.in_proj_bias": (3 * WIDTH,)}
        shapes |= {f"{beginning}mlp.c_fc.weight": (4 * WIDTH, WIDTH), f"{beginning}mlp.c_fc.bias": (4 * WIDTH,)}
        shapes |= {f"{beginning}mlp.c_proj.weight": (WIDTH, 4 * WIDTH), f"{beginning}mlp.c_proj.bias": (WIDTH,)}
        shapes |= {f"{beginning}attn.out_proj.weight": (WIDTH, WIDTH), f"{beginning}attn.out_proj.bias": (WIDTH,)}
        shapes |= {f"{beginning}{norm}.{kind}": (WIDTH,) for norm in ("ln_1", "ln_2") for kind in ("weight", "bias")}
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


MODELS = {
    "FLUX.1": (
        diffusers.FluxTransformer2DModel,
        {"num_layers": 2, "num_single_layers": 2, "guidance_embeds": True},
        single_file_utils.convert_flux_transformer_checkpoint_to_diffusers,
    ),
    "FLUX.2": (
        diffusers.Flux2Transformer2DModel,
        {"num_layers": 2, "num_single_layers": 2},
        single_file_utils.convert_flux2_transformer_checkpoint_to_diffusers,
    ),
    "Stable Diffusion 3.5": (
        diffusers.SD3Transformer2DModel,
        {"num_layers": 3, "qk_norm": "rms_norm", "dual_attention_layers": (0, 1), "caption_projection_dim": 1152},
        single_file_utils.convert_sd3_transformer_checkpoint_to_diffusers,
    ),
    "Z-Image": (
        diffusers.ZImageTransformer2DModel,
        {"n_layers": 2},
        single_file_utils.convert_z_image_transformer_checkpoint_to_diffusers,
    ),
}


@pytest.mark.parametrize(("build", "settings", "convert"), MODELS.values(), ids=MODELS.keys())
def test_a_transformer_in_the_original_layout_has_the_arrays_of_diffusers(build, settings, convert):
    with torch.device("meta"):
        model = build(**settings)
    rng, config = np.random.default_rng(0), {"_class_name": build.__name__, **model.config}
    # one number a row: the widths, of which their conversion knows one, would else be large
    arrays = {
        name: rng.normal(size=[*value.shape[:1], *[1] * (value.ndim - 1)]).astype(np.float32)
        for name, value in model.state_dict().items()
    }
    stored = original(arrays, build.__name__, settings.get("num_layers", 0))
    theirs = convert({name: torch.tensor(array) for name, array in stored.items()})
    named = {f"model.diffusion_model.{name}": array for name, array in stored.items()}
    ours = single_file.parts(named, {"transformer": config})["transformer"]
    assert set(ours) == set(theirs) == set(arrays)
    for name, value in theirs.items():
        np.testing.assert_array_equal(np.asarray(ours[name]), value.numpy())
