"""The transformer blocks by which diffusers reads texts, every parameter drawn at random, answer as ours with the same
parameters does.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.networks.blocks.image_transformer import ImageTransformer
from gendiff.networks.blocks.transformer import TransformerBlock

torch = pytest.importorskip("torch", reason="needs torch and diffusers: make test-peers")
diffusers = pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")
blocks = pytest.importorskip("diffusers.models.attention", reason="needs torch and diffusers: make test-peers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

WIDTH, HEADS, TEXT = 32, 4, 24
DRAW = np.random.default_rng(0)
X, TOKENS, ADA, CONTEXT = (
    DRAW.normal(size=shape).astype(np.float32) for shape in ((2, 9, WIDTH), (2, 5, WIDTH), (2, WIDTH), (2, 5, TEXT))
)
MASK = np.array([[True] * 5, [True, True, False, False, False]])


def random_model(model):
    """The model with every parameter at random, so that those which start at 0 count too."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():
            spread = 0.1 if value.ndim == 1 else 0.5 * value.shape[-1] ** -0.5
            value.copy_(spread * torch.randn(value.shape, generator=generator) + (value.ndim == 1) * 0.5)
    return model.eval()


def linear(model, *names):
    """Linear layers of theirs as one of ours."""
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    kernels, biases = [state[f"{name}.weight"].T for name in names], [state[f"{name}.bias"] for name in names]
    return {"kernel": np.concatenate(kernels, -1), "bias": np.concatenate(biases)}


def norm(model, name):
    state = model.state_dict()
    return {"scale": state[f"{name}.weight"].numpy(), "bias": state[f"{name}.bias"].numpy()}


def ours(module, params, *inputs):
    """Our output, after a look at whether the parameters have the paths and shapes of ours."""
    shapes = nn.meta.unbox(jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs)))["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)
    return module.apply({"params": jax.tree.map(jnp.asarray, params)}, *inputs)


def assert_same(result, theirs):
    assert theirs.numpy().std() > 0.1
    np.testing.assert_allclose(result, theirs.numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("last", [False, True])
def test_two_streams_are_the_joint_block_of_stable_diffusion_3(last):
    model = random_model(blocks.JointTransformerBlock(WIDTH, HEADS, WIDTH // HEADS, context_pre_only=last))
    params = {
        "modulation": linear(model, "norm1.linear"),
        "qkv": linear(model, "attn.to_q", "attn.to_k", "attn.to_v"),
        "output": linear(model, "attn.to_out.0"),
        "mlp_0": linear(model, "ff.net.0.proj"),
        "mlp_1": linear(model, "ff.net.2"),
        "stream_1_modulation": linear(model, "norm1_context.linear"),
    }
    if last:  # theirs scales first and then shifts, and asks queries whose answers it leaves out
        swapped = params["stream_1_modulation"]
        params["stream_1_modulation"] = jax.tree.map(lambda leaf: np.roll(leaf, WIDTH, -1), swapped)
        params["stream_1_key_value"] = linear(model, "attn.add_k_proj", "attn.add_v_proj")
    else:
        params["stream_1_qkv"] = linear(model, "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
        params["stream_1_output"] = linear(model, "attn.to_add_out")
        params["stream_1_mlp_0"], params["stream_1_mlp_1"] = (
            linear(model, "ff_context.net.0.proj"),
            linear(model, "ff_context.net.2"),
        )
    with torch.no_grad():
        tokens, image = model(*(torch.from_numpy(array) for array in (X, TOKENS, ADA)))
    block = TransformerBlock(HEADS, answers=1 if last else None)
    results, _ = ours(block, params, tuple(map(jnp.asarray, (X, TOKENS))), nn.silu(jnp.asarray(ADA)))
    for result, theirs in zip(results, (image,) if last else (image, tokens), strict=True):
        assert_same(result, theirs)


def cross_block(model, prefix=""):
    """Parameters of ours from their block with self-attention, cross-attention and MLP."""
    return {
        "norm_0": norm(model, f"{prefix}norm1"),
        "qkv": linear(model, *(f"{prefix}attn1.to_{part}" for part in "qkv")),
        "output": linear(model, f"{prefix}attn1.to_out.0"),
        "norm_cross": norm(model, f"{prefix}norm2"),
        "cross_query": linear(model, f"{prefix}attn2.to_q"),
        "cross_key_value": linear(model, f"{prefix}attn2.to_k", f"{prefix}attn2.to_v"),
        "cross_output": linear(model, f"{prefix}attn2.to_out.0"),
        "norm_1": norm(model, f"{prefix}norm3"),
        "mlp_0": linear(model, f"{prefix}ff.net.0.proj"),
        "mlp_1": linear(model, f"{prefix}ff.net.2"),
    }


SETTINGS = {"cross_attention_dim": TEXT, "activation_fn": "gelu-approximate", "attention_bias": True}


def test_a_context_is_the_cross_attention_of_their_basic_block_masked_tokens_included():
    model = random_model(blocks.BasicTransformerBlock(WIDTH, HEADS, WIDTH // HEADS, norm_eps=1e-6, **SETTINGS))
    unseen = torch.from_numpy(np.where(MASK, 0.0, -10_000.0).astype(np.float32))[:, None]
    with torch.no_grad():
        theirs = model(
            torch.from_numpy(X), encoder_hidden_states=torch.from_numpy(CONTEXT), encoder_attention_mask=unseen
        )
    inputs = jnp.asarray(X), None, None, None, None, jnp.asarray(CONTEXT), jnp.asarray(MASK)
    assert_same(ours(TransformerBlock(HEADS), cross_block(model), *inputs)[0], theirs)


def test_the_layer_of_a_unet_is_their_transformer_2d():
    fields = SETTINGS | {"norm_num_groups": 8, "use_linear_projection": True, "norm_eps": 1e-6}
    model = random_model(diffusers.Transformer2DModel(HEADS, WIDTH // HEADS, WIDTH, **fields))
    picture = X.reshape(2, 3, 3, WIDTH)
    with torch.no_grad():
        theirs = model(
            torch.from_numpy(picture).permute(0, 3, 1, 2), encoder_hidden_states=torch.from_numpy(CONTEXT)
        ).sample
    params = {
        "norm": norm(model, "norm"),
        "input": linear(model, "proj_in"),
        "block_0": cross_block(model, "transformer_blocks.0."),
        "output": linear(model, "proj_out"),
    }
    everything = jnp.ones(MASK.shape, bool)
    result = ours(
        ImageTransformer(HEADS, 8, epsilon=1e-6), params, jnp.asarray(picture), jnp.asarray(CONTEXT), everything
    )
    assert_same(result, theirs.permute(0, 2, 3, 1))
