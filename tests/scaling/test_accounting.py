"""Formulas per layer against what XLA counts, against closed forms, and against published counts of well-known
models.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import language, networks, scaling
from gendiff.networks import language_model
from gendiff.scaling import accounting
from tests.refusals import refusals
from tests.tables import table


def floats(*shape):
    return jax.ShapeDtypeStruct(shape, np.float32)


def ids(*shape):
    return jax.ShapeDtypeStruct(shape, np.int32)


def flags(*shape):
    return jax.ShapeDtypeStruct(shape, np.bool_)


TOKENS, PICTURES, LATENTS = ids(2, 256), floats(2, 64, 64, 3), floats(2, 32, 32, 4)
TIMED = (floats(2), ids(2))
TEXT = networks.Text(floats(2, 32, 64), flags(2, 32), floats(2, 48))
READS = {"text_channels": 64, "pooled_channels": 48}
LANGUAGE = {"vocabulary": 512, "context": 256, "width": 128, "depth": 2, "heads": 4}
ENCODER = {"vocabulary": 512, "positions": 64, "width": 128, "depth": 2, "heads": 4}
READER = {"vocabulary": 512, "context": 256, "width": 128, "heads": 4}
DIT = {"patch": 2, "width": 128, "depth": 2, "heads": 4, "num_classes": 10}
FLUX = {"text_attention": "joint", "rotary_channels": (8, 24), "norm_heads": True, "own_attention": (0,)}
FLUX |= {"single_depth": 1, "guidance": True}
LIGHTNING = {
    "norm": "rms",
    "gated": True,
    "activation": "silu",
    "mlp_width": 344,
    "rotary_channels": (16, 16),
    "norm_heads": True,
}
LATENT = {"channels": (64, 128), "blocks": 1, "groups": 32}
PICTURE = {"size": 32, "width": 32, "widest": 128}
CLIPS = floats(2, 8, 16, 16, 3)
DOCUMENT = (ids(2, 64), networks.Picture(floats(2, 16, 16, 4), floats(2)), ids(2, 32))
NOISE, DRAWN = floats(4, 64), floats(4, 32, 32, 3)
HINT = networks.Hint(floats(2, 128, 128, 3), floats(2))

NEAR = 0.05
"""Share of what the formulas leave out, norms, activations and softmax, in layers as wide as these."""
SMALL = 0.1
"""The same where an embedding, a resampling or the zeros around a small map weigh more."""
FILLED = 0.15
"""The same where XLA leaves out the zeros around maps of 4 × 4 pixels. Experts without a capacity are no row below, as
XLA counts their loop once; their closed form is tested.
"""

NETWORKS = {
    "language model": (networks.LanguageModel(**LANGUAGE, key_value_heads=2, mlp_width=344), (TOKENS,), NEAR),
    "untied, with biases and normalised heads": (
        networks.LanguageModel(**LANGUAGE, tied=False, qkv_bias=True, norm_heads=True, window=64),
        (TOKENS,),
        NEAR,
    ),
    "gpt2": (language_model.gpt2(**LANGUAGE), (TOKENS,), NEAR),
    "experts with a capacity": (
        networks.LanguageModel(**LANGUAGE, experts=networks.Experts(4, 2, 1.25)),
        (TOKENS,),
        NEAR,
    ),
    "multimodal transformer": (networks.MultimodalTransformer(**LANGUAGE), (DOCUMENT,), NEAR),
    "clip": (networks.TextEncoder(**ENCODER, projection=64), (ids(2, 64),), SMALL),
    "bert": (
        networks.TextEncoder(**ENCODER, causal=False, norm_first=False, token_types=2, pooling="mean"),
        (ids(2, 64),),
        SMALL,
    ),
    "language encoder": (
        networks.LanguageEncoder(**READER, key_value_heads=2, head_size=32, mlp_width=344, read=(1, 2)),
        (TOKENS,),
        NEAR,
    ),
    "t5": (networks.T5Encoder(512, 128, 2, 4, 32, 256), (ids(2, 64),), SMALL),
    "dit": (networks.DiT(**DIT), (LATENTS, *TIMED), NEAR),
    "projector": (networks.Projector(32, 128), (jnp.zeros((2, 64, 128)),), NEAR),
    "dit with cross-attention": (networks.DiT(**DIT, **READS), (LATENTS, *TIMED, TEXT), NEAR),
    "mm-dit": (networks.DiT(**DIT, **READS, text_attention="joint"), (LATENTS, *TIMED, TEXT), NEAR),
    "flux": (networks.DiT(**DIT, **READS, **FLUX), (LATENTS, *TIMED, TEXT, networks.GuidanceScale(floats(2))), NEAR),
    "single stream": (
        networks.SingleStreamTransformer(2, 128, 2, 1, 4, 344, 64, rotary_channels=(8, 12, 12)),
        (LATENTS, floats(2), networks.Text(floats(2, 32, 64), flags(2, 32))),
        NEAR,
    ),
    "lightning dit": (networks.DiT(**DIT, **LIGHTNING), (LATENTS, *TIMED), NEAR),
    "video transformer": (
        networks.VideoTransformer(**DIT, attention="factorised"),
        (CLIPS, floats(2, 8), ids(2)),
        NEAR,
    ),
    "video unet": (
        networks.VideoUNet((64, 128), 1, (8,), num_classes=10, along_time="causal", previous=2),
        (CLIPS, floats(2, 8), ids(2)),
        SMALL,
    ),
    "unet": (networks.UNet((64, 128), 1, (32,), num_classes=10), (PICTURES, *TIMED), NEAR),
    "unet of blocks": (networks.UNet((64, 128), 1, (), num_classes=10, resampling="block"), (PICTURES, *TIMED), NEAR),
    "unet that reads": (networks.UNet((64, 128), 1, (), num_classes=10, **READS), (PICTURES, *TIMED, TEXT), NEAR),
    "controlnet": (
        networks.ControlNet((64, 128), 1, (32,), num_classes=10, hint_channels=(32, 64)),
        (PICTURES, *TIMED, HINT),
        SMALL,
    ),
    "autoencoder": (networks.Autoencoder(**LATENT), (PICTURES,), NEAR),
    "autoencoder of normed patches": (networks.PatchNormedAutoencoder(**LATENT), (PICTURES,), NEAR),
    "vq autoencoder": (networks.VQAutoencoder(**LATENT, entries=512), (PICTURES,), NEAR),
    "discriminator": (networks.PatchDiscriminator((64, 128, 128)), (PICTURES,), SMALL),
    "dense generator": (networks.DenseGenerator(num_classes=3), (NOISE, ids(4)), NEAR),
    "dense critic": (networks.DenseCritic(features="discrimination"), (floats(4, 64),), NEAR),
    "dcgan generator": (networks.DCGANGenerator(**PICTURE), (NOISE,), NEAR),
    "dcgan critic": (networks.DCGANCritic(**PICTURE), (DRAWN,), NEAR),
    "r3gan generator": (networks.R3GANGenerator(**PICTURE, blocks=1), (NOISE,), SMALL),
    "r3gan critic": (networks.R3GANCritic(**PICTURE, blocks=1), (DRAWN,), SMALL),
    "progressive generator": (networks.ProgressiveGenerator(**PICTURE), (NOISE, floats(4)), FILLED),
    "progressive critic": (networks.ProgressiveCritic(**PICTURE, stage=2), (floats(4, 16, 16, 3), floats(4)), FILLED),
    "efficientnet lite": (networks.EfficientNetLite(), (floats(1, 64, 64, 3),), FILLED),
    "inception": (networks.Inception(), (floats(1, 299, 299, 3),), NEAR),
}
"""Name -> network, inputs, and the share of XLA's operations by which the formulas may miss them."""


def shapes_of(network, *inputs):
    return jax.eval_shape(lambda: networks.init(network, jax.random.key(0), *inputs))


SLOW = (
    *(
        "untied, with biases and normalised heads",
        "bert",
        "dit with cross-attention",
        "unet of blocks",
        "unet that reads",
        "controlnet",
    ),
    *("gpt2", "mm-dit", "lightning dit", "autoencoder of normed patches", "inception"),
)


FAST = [name for name in NETWORKS if name not in SLOW]


@pytest.mark.parametrize(
    "names", [FAST[0::3], FAST[1::3], FAST[2::3], *(pytest.param([name], marks=pytest.mark.slow) for name in SLOW)]
)
def test_every_parameter_is_counted_and_operations_are_those_of_xla_but_for_a_stated_share(names):
    for name in names:
        network, inputs, share = NETWORKS[name]
        params = shapes_of(network, *inputs)
        counted = accounting.count(network, *inputs, embeddings=True, params=params)
        assert counted.parameters == networks.count(params), name
        by_xla = accounting.xla_flops(networks.pure(network), params, *inputs)
        assert abs(1 - counted.forward_flops / by_xla) < share, name
        assert sum(counted.layers.values()) == counted.forward_flops, name


def test_every_network_of_the_library_is_counted():
    public = (getattr(networks, name) for name in networks.__all__)
    known = {value for value in public if isinstance(value, type) and issubclass(value, nn.Module)}
    assert known == {type(network) for network, *_ in NETWORKS.values()}


@table("changes", [{}, {"tied": False, "gated": False}, {"key_value_heads": 2, "experts": networks.Experts(4, 2)}])
def test_a_language_model_has_the_closed_form_of_its_size_to_the_last_operation(changes):
    mixture = {"experts": 4, "top_k": 2} if "experts" in changes else {}
    size = scaling.DecoderSize(30, 12, 2, 4, 6, 7, **changes | mixture)
    network = networks.LanguageModel(30, 8, 12, 2, 4, head_size=6, mlp_width=7, **changes)
    counted = accounting.count(network, ids(3, 8), embeddings=True)
    assert counted.parameters == size.parameters
    assert counted.forward_flops == 3 * 8 * (2 * size.active + size.attention_flops(8))
    assert counted.training_flops == scaling.cost.training_flops(size.active, 3 * 8, size.attention_flops(8))


def test_gpt_2_has_124_million_parameters_and_85_without_embeddings():
    params = shapes_of(language_model.gpt2(), ids(1, 4))
    full, without = (
        accounting.count(language_model.gpt2(), ids(1, 4), embeddings=choice, params=params) for choice in (True, False)
    )
    assert full.parameters == 124_439_808
    assert full.embedding_parameters == without.embedding_parameters == (50257 + 1024) * 768
    assert without.parameters == full.parameters - full.embedding_parameters
    assert without.parameters == pytest.approx(12 * 12 * 768**2, rel=0.002), (
        "Kaplan et al., Table 1: 12 layers · width²"
    )
    assert without.forward_flops == full.forward_flops


def test_a_last_layer_of_its_own_is_no_embedding_and_costs_what_a_shared_one_does():
    tied, untied = (
        accounting.count(networks.LanguageModel(**LANGUAGE, tied=tied), TOKENS, embeddings=False)
        for tied in (True, False)
    )
    assert (
        untied.parameters == tied.parameters + 512 * 128
        and untied.embedding_parameters == tied.embedding_parameters == 512 * 128
    )
    assert tied.forward_flops == untied.forward_flops
    all_tokens, last = (
        accounting.count(
            networks.LanguageModel(**LANGUAGE),
            TOKENS,
            None,
            all_tokens,
            embeddings=False,
            params=shapes_of(networks.LanguageModel(**LANGUAGE), TOKENS),
        )
        for all_tokens in (True, False)
    )
    assert all_tokens.forward_flops - last.forward_flops == 2 * 2 * 255 * 512 * 128


@pytest.mark.slow
def test_published_counts_of_dit_xl_2_and_inception_v3():
    """Both are multiplications with an addition, of one picture."""
    dit = networks.DiT(2, 1152, 28, 16, num_classes=1000, out_channels=8)
    counted = accounting.count(dit, floats(1, 32, 32, 4), floats(1), ids(1), embeddings=True)
    assert counted.forward_flops / 2 == pytest.approx(118.64e9, rel=0.01)
    assert counted.parameters == pytest.approx(675e6, rel=0.01)
    inception = accounting.count(networks.Inception("torchvision"), floats(1, 299, 299, 3), embeddings=True)
    assert inception.forward_flops / 2 == pytest.approx(5.71e9, rel=0.01)


def test_operations_grow_with_the_batch_and_remat_and_dtype_leave_them_alone():
    plain = accounting.count(networks.DiT(**DIT), LATENTS, *TIMED, embeddings=True)
    four = accounting.count(networks.DiT(**DIT), floats(4, 32, 32, 4), floats(4), ids(4), embeddings=True)
    assert four.forward_flops == 2 * plain.forward_flops and four.parameters == plain.parameters
    other = networks.DiT(**DIT, remat=True, dtype="bfloat16", attention_implementation="xla")
    assert accounting.count(other, LATENTS, *TIMED, embeddings=True) == plain


def test_the_halves_of_an_autoencoder_are_its_whole():
    network = networks.VQAutoencoder(**LATENT, entries=512)
    params = shapes_of(network, PICTURES)
    full = accounting.count(network, PICTURES, embeddings=True)
    encoded = accounting.count(network, PICTURES, embeddings=True, method="encode", params=params)
    decoded = accounting.count(network, LATENTS, embeddings=True, method="decode", params=params)
    assert encoded.forward_flops + decoded.forward_flops == full.forward_flops
    assert decoded.layers[""] == 2 * 2 * 32 * 32 * 4 * 512, "the products with the codebook"


def test_a_step_of_training_is_near_three_forward_passes_by_xla_too():
    network = networks.LanguageModel(**LANGUAGE)
    params = shapes_of(network, TOKENS)
    counted = accounting.count(network, TOKENS, embeddings=True, params=params)
    slopes = jax.grad(lambda params, tokens: jnp.sum(jnp.sin(networks.pure(network)(params, tokens).logits)))
    assert accounting.xla_flops(slopes, params, TOKENS) == pytest.approx(counted.training_flops, rel=0.25)


def test_xla_counts_a_product_exactly_and_the_body_of_a_loop_once():
    def product(x, kernel):
        return x @ kernel

    def eight(x, kernel):
        return jax.lax.scan(lambda carry, _: (carry @ kernel, None), x, length=8)[0]

    once = 2 * 16**3
    assert accounting.xla_flops(product, floats(16, 16), floats(16, 16)) == once
    assert once <= accounting.xla_flops(eight, floats(16, 16), floats(16, 16)) < 1.1 * once


class Own(nn.Module):
    """A layer that the library does not know."""

    @nn.compact
    def __call__(self, x):
        return networks.layers.dense(5, networks.layers.Compute(), "dense")(x) @ self.param(
            "kernel", nn.initializers.ones, (5, 7)
        )


def test_a_layer_of_ones_own_needs_a_formula_and_gets_it():
    with pytest.raises(TypeError, match="Own at 'the top' has parameters but no formula"):
        accounting.count(Own(), floats(2, 3), embeddings=True)
    formulas = {(Own, "__call__"): lambda call: 2 * call.output[0] * 5 * call.output[1]}
    counted = accounting.count(Own(), floats(2, 3), embeddings=True, formulas=formulas)
    assert counted.layers == {"dense": 2 * 2 * 3 * 5, "": 2 * 2 * 5 * 7} and counted.parameters == 3 * 5 + 5 + 5 * 7


def with_a_cache():
    network = networks.LanguageModel(**LANGUAGE)
    cache = language.cache.full(network, 2, 256)
    return accounting.count(network, TOKENS, cache, embeddings=True, params=shapes_of(network, TOKENS))


test_mistakes_are_refused = refusals(
    (lambda: accounting.count(lambda x: x, floats(2, 3), embeddings=True), "linen Module", TypeError),
    (with_a_cache, "a cache was given", TypeError),
    (
        lambda: accounting.count(networks.DenseCritic(), floats(2, 3), embeddings=True, method="draw"),
        "no method of that name",
    ),
)
