"""Our side of the cases with language models: their weights, and the work with them, all by the names that a user calls.

The compiler options of pictures are left out: users of `language` compile without them, and they slow decoding.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.workloads import NETWORKS, Workload
from gendiff import language, networks, scaling
from gendiff.core import trees
from gendiff.core.types import Params
from gendiff.language import drafts, processors, speculative
from gendiff.weights import language_models, quantised, smollm2

Work = Callable[[], Any]
GUESSES = 7
"""Tokens that prompt lookup guesses at once, as in the experiment `speculative`."""
REAL = "smollm2"
"""The network whose weights a package brings; others get random ones."""


def build(workload: Workload) -> networks.LanguageModel:
    """The network."""
    settings = NETWORKS[workload.network].settings
    fields = language_models.module_of(settings).network_fields(settings)
    return networks.LanguageModel(**fields, dtype="bfloat16" if workload.dtype == "bfloat16" else None)


def parameters(workload: Workload, network: networks.LanguageModel, weights: str = "") -> Params:
    """In float32, from a folder of transformers or a GGUF file, or fresh ones."""
    init = functools.partial(networks.init, network)
    example = jax.random.key(0), jnp.zeros((1, 2), jnp.int32)
    return language_models.load(weights).params(jax.eval_shape(init, *example)) if weights else jax.jit(init)(*example)


def write_weights(workload: Workload, folder: Path) -> None:
    """A folder that transformers loads, with the real weights where there are any, else random ones.

    Raises ImportError, with the command that installs it, without the package of the real ones.
    """
    like = jax.eval_shape(functools.partial(parameters, workload, build(workload)))
    params = smollm2.params(like) if workload.network == REAL else _drawn(like)
    language_models.save(folder, params, NETWORKS[workload.network].settings)


def absent() -> str:
    """What to install for the real weights; empty where they are there."""
    try:
        smollm2.path()
    except ImportError as error:
        return str(error)
    return ""


def prefill(workload: Workload, network: networks.LanguageModel, params: Params, given: Mapping[str, jax.Array]) -> Work:
    """Reads all ids; the answer is (logits (b, v) of the token behind them, cache)."""
    model = _model(network, params, workload)
    empty = _cache(workload, network, given["ids"].shape)
    read = jax.jit(lambda model, ids, cache: model(ids, cache))
    return functools.partial(read, model, given["ids"], empty)


def generate(workload: Workload, network: networks.LanguageModel, params: Params, given: Mapping[str, jax.Array]) -> Work:
    """Reads all ids and goes on greedily; the answer is (parameters as they are computed with, tokens (b, n))."""
    model, looks_up = _model(network, params, workload), workload.kind == "lookup"

    @jax.jit
    def write(key: jax.Array, model: Any, prompt: jax.Array, index: jax.Array, temperature: jax.Array, stop: jax.Array) -> jax.Array:
        cache = _cache(workload, network, (prompt.shape[0], prompt.shape[1] + workload.steps + GUESSES * looks_up))
        options: dict[str, Any] = {"max_tokens": workload.steps, "processor": processors.temperature(temperature), "stop": stop}
        if looks_up:
            draft = drafts.prompt_lookup()
            return speculative.generate(key, model, cache, draft, prompt, index, gamma=GUESSES, **options).tokens
        return language.generate(key, model, cache, prompt, index, **options).tokens

    rest = given["ids"], jnp.arange(workload.batch), jnp.float32(0.0), given.get("stop", jnp.zeros(0, jnp.int32))
    return lambda: (model, write(jax.random.key(0), model, *rest))


def answers(workload: Workload, network: networks.LanguageModel, given: Mapping[str, jax.Array], done: Any) -> dict[str, np.ndarray]:
    """What is compared, by name.

    Of "prefill" its logits, of "generate" the tokens and the logits (b, n, v) by which each was chosen, of a reply the tokens alone, behind
    which −1 stands.
    """
    if workload.kind == "prefill":
        return {"output": np.asarray(done[0], np.float32)}
    model, tokens = done
    if workload.kind != "generate":
        return {"tokens": np.asarray(tokens)}
    text = jnp.concatenate([given["ids"], tokens[:, :-1]], 1)
    empty = _cache(workload, network, text.shape)
    logits = jax.jit(lambda model, text, cache: model(text, cache, every=True)[0])(model, text, empty)
    return {"output": np.asarray(logits[:, given["ids"].shape[1] - 1 :], np.float32), "tokens": np.asarray(tokens)}


def size_of(workload: Workload) -> scaling.DecoderSize:
    """The sizes of its network."""
    fields = build(workload)
    return scaling.DecoderSize(
        fields.vocabulary,
        fields.width,
        fields.depth,
        fields.heads,
        fields.width // fields.heads,
        fields.mlp_width or 4 * fields.width,
        fields.key_value_heads,
    )


def flops(workload: Workload) -> float:
    """FLOPs by formula: every token that is read in all matrices but the last, which gives logits once per step and text."""
    size = size_of(workload)
    table = size.vocabulary * size.width
    tokens = workload.tokens + workload.steps - 1
    read = scaling.cost.forward_flops(size.active - table, tokens, size.attention_flops(scaling.cost.mean_seen(tokens)))
    return workload.batch * float(read + scaling.cost.forward_flops(table, workload.steps))


def _model(network: networks.LanguageModel, params: Params, workload: Workload) -> Any:
    """As `language` takes it, with weights in the workload's dtype."""
    if workload.dtype == "bfloat16":
        params = trees.cast(params, jnp.bfloat16)
    elif workload.dtype == "int8":
        params = quantised.quantise(params, quantised.linear(quantised.int8(), tables=True))
    return language.from_network(networks.pure(network), params)


def _cache(workload: Workload, network: networks.LanguageModel, shape: tuple[int, ...]) -> Any:
    """Without tokens, for (texts, tokens of each)."""
    texts, room = shape
    return language.cache.full(network, texts, room, jnp.bfloat16 if workload.dtype == "bfloat16" else jnp.float32)


def _drawn(like: Params) -> Params:
    """Random weights of moderate size, so that logits differ from each other."""
    rng = np.random.default_rng(0)

    def drawn(path: str, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        spread = leaf.shape[0] ** -0.5 if path.endswith("kernel") else 0.3
        return (spread * rng.normal(size=leaf.shape) + path.endswith("scale")).astype(np.float32)

    return jax.tree.unflatten(jax.tree.structure(like), [drawn(*each) for each in trees.paths(like).items()])
