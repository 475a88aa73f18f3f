"""Language models of transformers, there and back, give equal logits; and the real weights of SmolLM2, also in their
greedy answers.
"""

import json

import jax
import numpy as np
import pytest

from experiments.bench.workloads import NETWORKS
from gendiff import networks
from gendiff.language import tokens
from gendiff.networks import language_model
from gendiff.weights import gguf, language_models, smollm2
from tests.quickly import quickly
from tests.weights.quantised import converted_models, gguf_files
from tests.weights.transformers import tiny_language_models
from tests.weights.transformers.tiny_language_models import CONFIGS, TOKENS

torch = pytest.importorskip("torch", reason="needs torch and transformers: make test-peers")
transformers = pytest.importorskip("transformers", reason="needs torch and transformers: make test-peers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

SAME = 2e-5
REAL = 5e-4
"""The largest difference of logits on 500 tokens of real text."""
ANSWERED = 64


def opened(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()


def built(config):
    network = networks.LanguageModel(**language_models.module_of(config).network_fields(config))
    return network, jax.eval_shape(lambda: networks.init(network, jax.random.key(0), TOKENS))


def logits(network, params, ids):
    return np.asarray(quickly(lambda params: networks.pure(network)(params, ids).logits)(params))


def close(here, there, most):
    print(f"differ by at most {np.abs(here - there).max():.2g}, of {there.std():.2g}")
    np.testing.assert_allclose(here, there, rtol=0, atol=most * max(1, np.abs(there).max()))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_folder_of_ours_gives_the_same_logits_there_and_what_they_save_returns(tmp_path, name):
    network, shapes = built(CONFIGS[name])
    ours = tiny_language_models.random_params(shapes)
    language_models.save(tmp_path / "ours", ours, CONFIGS[name])
    model = opened(tmp_path / "ours")
    with torch.inference_mode():
        there = model(torch.tensor(TOKENS).long()).logits.numpy()
    close(logits(network, ours, TOKENS), there, SAME)
    model.save_pretrained(tmp_path / "theirs", max_shard_size="8KB")
    again = language_models.load(tmp_path / "theirs")
    assert (tmp_path / "theirs" / "model.safetensors.index.json").is_file() and networks.LanguageModel(
        **again.fields
    ) == network
    assert jax.tree.all(jax.tree.map(np.array_equal, again.params(shapes), ours))


def test_the_text_model_of_gemma_3_that_reads_pictures_gives_the_same_logits(tmp_path):
    text = CONFIGS["Gemma 3"] | {"initializer_range": 0.5}
    picture = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    picture |= {"image_size": 8, "patch_size": 4}
    config = transformers.Gemma3Config(text_config=text, vision_config=picture, mm_tokens_per_image=4)
    model = transformers.Gemma3ForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path)
    with torch.inference_mode():
        there = model(torch.tensor(TOKENS).long()).logits.numpy()
    stored = language_models.load(tmp_path)
    network = networks.LanguageModel(**stored.fields)
    ours = stored.params(jax.eval_shape(lambda: networks.init(network, jax.random.key(0), TOKENS)))
    close(logits(network, ours, TOKENS), there, SAME)


@pytest.mark.parametrize(("name", "size"), [("Qwen 3", 128), ("Gemma 2", 256), ("Gemma 3", 256)])
def test_a_gguf_file_gives_the_same_logits_there(tmp_path, name, size):
    """With what transformers reads of such files: it takes head sizes, caps and bases of rotary positions as given."""
    pytest.importorskip("gguf", reason="needs the extra [language]")
    changes = {"head_dim": size, "attention_bias": False}
    if name != "Qwen 3":
        changes |= {"query_pre_attn_scalar": size, "rope_theta": 1e4}
    if name == "Gemma 2":
        changes |= {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
    if name == "Gemma 3":
        changes |= {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": None}
    _, metadata, arrays = converted_models.model(name, changes)
    (tmp_path / "x.gguf").write_bytes(gguf_files.gguf_bytes(metadata, arrays))
    stored = language_models.load(tmp_path / "x.gguf")
    network = networks.LanguageModel(**stored.fields)
    ours = stored.params(jax.eval_shape(lambda: networks.init(network, jax.random.key(0), TOKENS)))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="x.gguf", attn_implementation="eager", dtype=torch.float32
    ).eval()
    with torch.inference_mode():
        there = model(torch.tensor(TOKENS).long()).logits.numpy()
    close(logits(network, ours, TOKENS), there, SAME)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """(their model, our network and parameters, ids of a text) of SmolLM2, through a folder that we write."""
    pytest.importorskip("gguf", reason="needs the extra [language]")
    try:
        file = gguf.load(smollm2.path())
    except ImportError as error:
        pytest.skip(str(error))
    network = language_model.smollm2_135m()
    ours = smollm2.params(jax.eval_shape(lambda: networks.init(network, jax.random.key(0), TOKENS)))
    config = NETWORKS["smollm2"].settings
    folder = tmp_path_factory.mktemp("smollm2") / "model"
    language_models.save(folder, ours, config)
    text = json.dumps({name: str(value) for name, value in vars(np.testing).items() if callable(value)}) + str(
        np.einsum.__doc__
    )
    return opened(folder), network, ours, tokens.from_gguf(file.metadata).encode(text)[:500]


def test_the_real_model_gives_the_same_logits_on_real_text_and_the_same_greedy_answer(real):
    model, network, ours, ids = real
    assert len(ids) == 500
    with torch.inference_mode():
        there = model(torch.tensor(ids[None]).long()).logits.numpy()
        answer = model.generate(
            torch.tensor(ids[None, :40]).long(), max_new_tokens=ANSWERED, do_sample=False, eos_token_id=None
        )[0, 40:]
    here = jax.jit(lambda params, ids: networks.pure(network)(params, ids).logits)(ours, ids[None])
    print(f"differ by at most {np.abs(here - there).max():.2g}")
    np.testing.assert_allclose(here, there, rtol=0, atol=REAL)
    full = np.concatenate([ids[:40], answer.numpy().astype(np.int32)])[None]
    greedy = np.asarray(jax.jit(lambda params, ids: networks.pure(network)(params, ids).logits)(ours, full))[
        0, 39:-1
    ].argmax(-1)
    # each token is the likeliest after those before: the greedy answer
    np.testing.assert_array_equal(greedy, full[0, 40:])
