"""The real weights of SmolLM2 give the logits of an independent forward in float64. Slow, and skipped where their
package is missing.
"""

import functools
import pydoc_data.topics
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import networks, training
from gendiff.language import chat_template, tokens
from gendiff.networks import language_model
from gendiff.weights import gguf, gguf_llama, layouts, packed_reading, quantised, rules, smollm2

NETWORK = language_model.smollm2_135m()
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
IDS = (
    "1 9690 198 2683 359 253 5356 5646 11173 3365 3511 308 34519 28 7018 411 407 19712 8182 2 198 1 4093 198 1780 314 "
    "260 3575 282 4649 47 2 198 1 520 9531 198"
)
"""Of the question in its template, by llama.cpp's tokenizer too."""
LOGITS = (10.166010, 6.212091, 6.837066, 6.255059, 5.384849)
LARGEST = 25.325383, 504
"""Of the token behind them, by a forward in float64 that shares no code with this library: the first five, and the
largest with its id.
"""


@pytest.fixture(scope="module")
def file():
    pytest.importorskip("gguf", reason="needs the extra [language]")
    try:
        return gguf.load(smollm2.path())
    except ImportError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def params(file):
    return smollm2.params(jax.eval_shape(lambda: networks.init(NETWORK, jax.random.key(0), np.zeros((1, 4), np.int32))))


@pytest.fixture(scope="module")
def logits_of():
    return jax.jit(lambda params, ids: networks.pure(NETWORK)(params, ids[None]).logits[0])


@pytest.mark.slow
def test_the_settings_are_those_of_the_named_network(file):
    assert networks.LanguageModel(**gguf_llama.network_fields(file)) == NETWORK


@pytest.mark.slow
def test_a_question_becomes_the_ids_and_logits_of_the_reference(file, params, logits_of):
    tokenizer = tokens.from_gguf(file.metadata)
    tokenizer.check_vocabulary(NETWORK.vocabulary)
    ids = tokenizer.encode(chat_template.from_gguf(file.metadata)(QUESTION), special=True)
    assert ids.tolist() == [int(number) for number in IDS.split()]
    logits = np.asarray(logits_of(params, ids))[-1]
    np.testing.assert_allclose(logits[:5], LOGITS, atol=1e-4)
    assert logits.argmax() == LARGEST[1] and abs(logits.max() - LARGEST[0]) < 1e-4 and tokenizer.decode([504]) == "The"


@pytest.mark.slow
def test_500_tokens_of_real_text_have_the_logits_and_the_greedy_answer_of_transformers(file, params, logits_of):
    """The file of references was written by transformers 5.24 with torch 2.13, float32, from these weights and the text
    of our licence.
    """
    with np.load(Path(__file__).with_name("smollm2_reference.npz")) as stored:
        there = dict(stored)
    licence = (Path(__file__).parents[3] / "LICENSE").read_text()
    ids = tokens.from_gguf(file.metadata).encode(licence)[:500]
    np.testing.assert_array_equal(ids, there["ids"])
    here = np.asarray(logits_of(params, ids))
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=5e-4)
    close(here[:, there["columns"]], there["logits"])
    close(np.take_along_axis(here, there["best"], 1), there["largest"])
    close(jax.nn.logsumexp(here, 1), there["log_sum"])
    logits = np.concatenate([ids[:40], there["greedy"]])
    greedy = np.asarray(logits_of(params, logits))[39:-1].argmax(-1)
    # each token is the likeliest after those before: the greedy answer
    np.testing.assert_array_equal(greedy, there["greedy"])


@pytest.mark.slow
def test_real_text_is_likely_and_with_the_rows_of_llama_cpp_it_is_not(file, params, logits_of):
    text = "\n".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))
    ids = tokens.from_gguf(file.metadata).encode(text[:4000])[:500]
    left = [rule for rule in gguf_llama.rules(file) if "qkv" not in rule.ours]
    names = tuple(f"blk.{{block}}.attn_{part}.weight" for part in "qkv")
    left.append(rules.Rule("block_{block}/qkv/kernel", names, layouts.LINEAR, shares=(9, 3, 3)))

    def surprise(params):
        shares = jax.nn.log_softmax(logits_of(params, ids))
        return -float(np.take_along_axis(np.asarray(shares)[:-1], ids[1:, None], -1).mean())

    right, wrong = surprise(params), surprise(rules.to_ours(file.arrays(), left, params))
    assert 2 < right < 3 and wrong > right + 1.5


@pytest.mark.slow
def test_packed_as_its_file_is_it_gives_the_same_logits_from_a_sixth_of_the_bytes(params, logits_of):
    packed = smollm2.params(params, maker=packed_reading.as_stored)
    ids = np.array([int(number) for number in IDS.split()])
    np.testing.assert_allclose(logits_of(packed, ids), logits_of(params, ids), atol=1e-3)
    assert quantised.nbytes(packed) < quantised.nbytes(params) / 5.5


@pytest.mark.slow
def test_low_rank_training_of_the_whole_model_fits_into_3_gib_and_learns_a_text_by_heart(file, params):
    """As XLA states it, on 256 tokens, in float32, on all linear layers."""
    ids = tokens.from_gguf(file.metadata).encode(pydoc_data.topics.topics["while"] + pydoc_data.topics.topics["with"])[
        None, :256
    ]
    predict, optimizer = networks.pure(language_model.smollm2_135m(remat="products")), optax.adam(1e-3)

    def loss(params, key, batch):
        logits = predict(params, batch).logits
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], batch[:, 1:])), {}

    state = training.start(
        networks.lora.start(jax.random.key(1), params, 8, "kernel$"), optimizer, jax.random.key(2), ema=()
    )
    step = jax.jit(
        lambda params, state, batch: training.make_step(networks.lora.loss(loss, params), optimizer)(state, batch)
    )
    program = step.lower(params, state, ids).compile()
    memory = program.memory_analysis()
    assert memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes < 3 * 2**30
    losses = []
    for _ in range(8):
        state, metrics = program(params, state, ids)
        losses.append(float(metrics["loss"]))
    assert ids.shape == (1, 256) and losses[0] < 4 and losses[-1] < losses[0] - 0.5
