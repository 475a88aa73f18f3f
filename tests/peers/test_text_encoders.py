"""Text models of transformers and OpenCLIP, every parameter drawn at random, give the same outputs as ours after the
rules of weights.
"""

import json

import jax
import numpy as np
import pytest

from gendiff import networks, weights
from tests.quickly import quickly

torch = pytest.importorskip("torch", reason="needs torch and transformers: make test-peers")
transformers = pytest.importorskip("transformers", reason="needs torch and transformers: make test-peers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

SAME = 1e-4
CLIP = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 64,
    "projection_dim": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 12,
    "eos_token_id": 59,
}
BERT = {name: value for name, value in CLIP.items() if name not in ("projection_dim", "eos_token_id")}
MODELS = {
    "CLIP": ("CLIPTextModel", CLIP),
    "CLIP whose end is not the largest id": ("CLIPTextModel", CLIP | {"eos_token_id": 40, "layer_norm_eps": 1e-2}),
    "CLIP of before 4.31, which takes the largest id": ("CLIPTextModel", CLIP | {"eos_token_id": 2}),
    "CLIP with its projection": ("CLIPTextModelWithProjection", CLIP | {"hidden_act": "gelu"}),
    "CLIP with GELU by tanh": ("CLIPTextModel", CLIP | {"hidden_act": "gelu_new"}),
    "BERT": ("BertModel", BERT),
    "BERT with a large epsilon and three kinds of tokens": (
        "BertModel",
        BERT | {"layer_norm_eps": 1e-2, "type_vocab_size": 3},
    ),
}
T5 = {
    "vocab_size": 60,
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 48,
    "num_layers": 3,
    "num_heads": 3,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
}
SILU = {"feed_forward_proj": "gated-silu", "relative_attention_num_buckets": 8, "layer_norm_epsilon": 1e-2}
IDS = np.array(
    [[50, 3, 17, 40, 8, 59, 59, 59, 59, 59], [50, 40, 59, 0, 0, 0, 0, 0, 0, 0], [50, 1, 2, 3, 4, 40, 6, 7, 9, 59]],
    np.int32,
)
SHOWN = np.array([[1] * 6 + [0] * 4, [1] * 3 + [0] * 7, [1] * 10], bool)


def random_model(model):
    """The model with every parameter at random, so that those which start at 0 or 1 count too."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            scale = value.ndim == 1 and name.endswith("weight")
            spread = 0.2 if value.ndim < 2 or "embedding" in name else value.shape[-1] ** -0.5
            value.copy_(spread * torch.randn(value.shape, generator=generator) + (1.0 if scale else 0.0))
    return model.eval()


def ours(fields, params_of, *inputs):
    network = networks.TextEncoder(precision="highest", **fields)
    like = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), IDS))
    return jax.tree.map(np.asarray, quickly(networks.pure(network))(params_of(like), *inputs))


def close(here, there):
    there = there.numpy()
    assert there.std() > 0.1
    print(f"differ by at most {np.abs(here - there).max():.2g}, of {there.std():.2g}")
    np.testing.assert_allclose(here, there, rtol=0, atol=SAME)


@pytest.mark.parametrize(("kind", "settings"), MODELS.values(), ids=MODELS.keys())
def test_a_saved_model_of_transformers_gives_the_same_outputs_here(kind, settings, tmp_path):
    build = getattr(transformers, kind)
    random_model(build(build.config_class(**settings))).save_pretrained(tmp_path)
    model = build.from_pretrained(tmp_path).eval()
    stored = weights.files.load_folder(tmp_path, stem="model")
    module = weights.transformers_bert if kind == "BertModel" else weights.transformers_clip
    is_bert = module is weights.transformers_bert
    types = (
        (np.where(np.arange(10)[None] > 2, settings.get("type_vocab_size", 2) - 1, 0).repeat(3, 0),) if is_bert else ()
    )
    # of CLIP's causal tokens none sees padding, which Stable Diffusion shows to its U-Net
    mask = SHOWN if is_bert else None
    here = ours(
        module.network_fields(stored.config),
        lambda like: module.params(stored.config, stored.arrays, like),
        IDS,
        mask,
        *types,
    )

    words = {"input_ids": torch.tensor(IDS).long()}
    if is_bert:
        words |= {"attention_mask": torch.tensor(SHOWN).long(), "token_type_ids": torch.tensor(types[0]).long()}
    with torch.inference_mode():
        there = model(**words)
    attended = SHOWN if is_bert else np.ones_like(SHOWN)
    close(here.tokens[attended], there.last_hidden_state[torch.tensor(attended)])
    if is_bert:
        weight = torch.tensor(SHOWN)[..., None]
        close(here.pooled, (there.last_hidden_state * weight).sum(1) / weight.sum(1))
    else:
        close(here.pooled, there.text_embeds if kind.endswith("Projection") else there.pooler_output)


@pytest.mark.parametrize("skip", [0, 1, 2])
def test_without_the_last_blocks_tokens_are_those_behind_their_last_norm(skip):
    model = random_model(transformers.CLIPTextModel(transformers.CLIPTextConfig(**CLIP)))
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    fields = weights.transformers_clip.network_fields(CLIP) | {"skip_last": skip}
    here = ours(fields, lambda like: weights.transformers_clip.params(CLIP, arrays, like), IDS)
    with torch.inference_mode():
        hidden = model(torch.tensor(IDS).long(), output_hidden_states=True).hidden_states[-1 - skip]
        norm = next(module for name, module in model.named_modules() if name.endswith("final_layer_norm"))
        close(here.tokens, norm(hidden))


@pytest.mark.parametrize("quick", [False, True], ids=["GELU", "quick GELU"])
def test_the_text_tower_of_openclip_gives_the_same_vectors_here(quick):
    open_clip = pytest.importorskip("open_clip", reason="needs open-clip-torch: make test-peers")
    text = {"context_length": 10, "vocab_size": 60, "width": 32, "heads": 4, "layers": 3, "mlp_ratio": 2.0}
    vision = {"layers": 1, "width": 16, "head_width": 8, "patch_size": 8, "image_size": 16}
    config = json.loads(json.dumps({"embed_dim": 24, "quick_gelu": quick, "vision_cfg": vision, "text_cfg": text}))
    model = random_model(open_clip.model.CLIP(**config))
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    module = weights.open_clip_text
    here = ours(module.network_fields(config), lambda like: module.params(config, arrays, like), IDS)
    with torch.inference_mode():
        close(here.pooled, model.encode_text(torch.tensor(IDS).long()))


@pytest.mark.parametrize("change", [{}, SILU], ids=["as published", "otherwise"])
def test_the_encoder_of_t5_gives_the_same_tokens_here_and_reads_padding_where_no_mask_is_given(change, tmp_path):
    module = weights.transformers_t5
    random_model(transformers.T5EncoderModel(transformers.T5Config(**T5 | change))).save_pretrained(tmp_path)
    model = transformers.T5EncoderModel.from_pretrained(tmp_path).eval()
    stored = weights.files.load_folder(tmp_path, stem="model")
    network = networks.T5Encoder(precision="highest", **module.network_fields(stored.config))
    ids = np.random.default_rng(0).integers(0, 60, (2, 150)).astype(np.int32)
    attended = np.arange(150)[None] < np.array([[150], [40]])
    like = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), ids))
    params, encode = module.params(stored.config, stored.arrays, like), quickly(networks.pure(network))
    for mask in (None, attended):
        options = {} if mask is None else {"attention_mask": torch.tensor(mask).long()}
        with torch.inference_mode():
            there = model(torch.tensor(ids).long(), **options).last_hidden_state
        visible = np.ones_like(attended) if mask is None else attended
        close(np.asarray(encode(params, ids, mask).tokens)[visible], there[torch.tensor(visible)])


MODULES = {
    "CLIPTextModel": weights.transformers_clip,
    "BertModel": weights.transformers_bert,
    "T5EncoderModel": weights.transformers_t5,
}


@pytest.mark.parametrize("kind", MODULES)
def test_every_setting_that_their_configuration_writes_is_known(kind, tmp_path):
    build, module = getattr(transformers, kind), MODULES[kind]
    settings = {"feed_forward_proj": "gated-gelu"} if kind.startswith("T5") else {}
    build.config_class(**settings).save_pretrained(tmp_path)
    written = weights.files.load_config(tmp_path)
    assert module.network_fields(written) == module.network_fields(settings)
