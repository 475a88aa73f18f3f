"""SmolLM2-135M-Instruct, whose weights a package brings, ours beside transformers: reading prompts, and going on with
them.

"prefill" reads `tokens` ids of each text, as far as the logits of the next one; "generate" goes on by `steps` tokens,
the likeliest each time. "reply" does the same as far as the token `stop` of its arrays, and "lookup" guesses the tokens
of a reply by prompt lookup. The compiler options of pictures are left out: users of `language` compile without them,
and they slow decoding.
"""

import dataclasses
import functools
import inspect
from typing import Any

import numpy as np

from experiments.bench import weights
from experiments.bench.lazily import (
    cost,
    drafts,
    guess_policy,
    jax,
    jnp,
    language,
    language_models,
    networks,
    processors,
    quantised,
    scaling,
    smollm2_file,
    speculative,
    torch,
    transformers,
    trees,
)
from experiments.bench.workloads import Case, Way, Workload

GUESSES = 7
"""Tokens that prompt lookup guesses at once, as in the experiment `speculative`."""


def inputs(workload: Workload, _: Any = None) -> dict[str, np.ndarray]:
    """Random ids (b, s), and where a reply stops."""
    vocabulary = workload.settings["vocab_size"]
    ids = np.random.default_rng(0).integers(0, vocabulary, (workload.batch, workload.tokens)).astype(np.int32)
    return {"ids": ids} | (
        {"stop": np.array([vocabulary - 1], np.int32)} if workload.kind in ("reply", "lookup") else {}
    )


def build(workload: Workload) -> Any:
    """Our network."""
    fields = language_models.module_of(workload.settings).network_fields(workload.settings)
    return networks.LanguageModel(**fields, dtype="bfloat16" if workload.dtype == "bfloat16" else None)


def init(workload: Workload, key: Any) -> Any:
    """Its parameters, in float32."""
    return networks.init(build(workload), key, jnp.zeros((1, 2), jnp.int32))


def size_of(workload: Workload) -> Any:
    """Its sizes."""
    fields = build(workload)
    heads, mlp = fields.heads, fields.mlp_width or 4 * fields.width
    sizes = fields.vocabulary, fields.width, fields.depth, heads, fields.width // heads, mlp, fields.key_value_heads
    return scaling.DecoderSize(*sizes)


def flops(workload: Workload) -> float:
    """By formula: every token that is read in all matrices but the last, which gives logits once per step and text."""
    size, tokens = size_of(workload), workload.tokens + workload.steps - 1
    table = size.vocabulary * size.width
    read = cost.forward_flops(size.active - table, tokens, size.attention_flops(cost.mean_seen(tokens)))
    return workload.batch * float(read + cost.forward_flops(table, workload.steps))


def absent() -> str:
    """What to install for the real weights; empty where they are there."""
    try:
        smollm2_file.path()
    except ImportError as error:
        return str(error)
    return ""


def ours(workload: Workload, arrays: dict[str, Any], folder: str) -> Way:
    """Logits (b, v) of the token behind the ids, or tokens (b, n), compared with the logits (b, n, v) by which each was
    chosen.

    Weights, and the cache, have the workload's dtype.
    """
    network, params, ids = build(workload), weights.read(workload, folder), arrays["ids"]
    if workload.dtype == "bfloat16":
        params = trees.cast(params, jnp.bfloat16)
    elif workload.dtype == "int8":
        params = quantised.quantise(params, quantised.linear(quantised.int8(), tables=True))
    model, looks_up = language.from_network(networks.pure(network), params), workload.kind == "lookup"

    def cache(texts: int, room: int) -> Any:
        return language.cache.full(network, texts, room, jnp.bfloat16 if workload.dtype == "bfloat16" else jnp.float32)

    if workload.kind == "prefill":
        read = functools.partial(jax.jit(lambda model, ids, cache: model(ids, cache)), model, ids, cache(*ids.shape))
        return Way(read, lambda done: {"output": done[0]})

    @jax.jit
    def write(key: Any, model: Any, prompt: Any, index: Any, temperature: Any, stop: Any) -> Any:
        empty = cache(prompt.shape[0], prompt.shape[1] + workload.steps + GUESSES * looks_up)
        options: dict[str, Any] = {
            "max_tokens": workload.steps,
            "processor": processors.temperature(temperature),
            "stop": stop,
        }
        if looks_up:
            # as in the committed runs; the next ones take the defaults
            draft, options["policy"] = drafts.prompt_lookup(least=1), guess_policy.always()
            return speculative.generate(key, model, empty, draft, prompt, index, gamma=GUESSES, **options).tokens
        return language.generate(key, model, empty, prompt, index, **options).tokens

    def answer(tokens: Any) -> dict[str, Any]:
        if workload.kind != "generate":
            return {"tokens": tokens}
        text = jnp.concatenate([ids, tokens[:, :-1]], 1)
        logits = jax.jit(lambda model, text, cache: model(text, cache, every=True)[0])(model, text, cache(*text.shape))
        return {"output": logits[:, ids.shape[1] - 1 :], "tokens": tokens}

    rest = ids, jnp.arange(workload.batch), jnp.float32(0.0), arrays.get("stop", jnp.zeros(0, jnp.int32))
    return Way(lambda: write(jax.random.key(0), model, *rest), answer)


def theirs(workload: Workload, arrays: dict[str, Any], folder: str, mode: str) -> Way:
    """The same by the call of transformers' network, or by its `generate`.

    Only "eager" has a cache that grows. "compiled" compiles steps, as `generate` does on GPUs.
    """
    module = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, workload.dtype)).eval()
    ids, config = arrays["ids"].long(), module.config
    if workload.kind == "prefill":
        static = None if mode == "eager" else transformers.StaticCache(config=config, max_cache_len=workload.tokens)
        call = torch.compile(module) if mode == "compiled" else module
        # before transformers 5.24
        name = "cache" if "cache" in inspect.signature(module.forward).parameters else "past_key_values"
        if static is not None:
            with torch.inference_mode():
                # makes its buffers, else they would be compiled twice
                module(input_ids=ids, use_cache=True, **{name: static})

        def read() -> Any:
            with torch.inference_mode():
                if static is not None:
                    static.reset()
                cache = transformers.DynamicCache(config=config) if static is None else static
                return call(input_ids=ids, use_cache=True, logits_to_keep=1, **{name: cache}).logits[:, -1]

        return Way(read)
    options: dict[str, Any] = {
        "max_new_tokens": workload.steps,
        "min_new_tokens": None,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    if mode != "eager":
        options |= {"cache_implementation": "static", "disable_compile": mode != "compiled"}
    if mode == "compiled":
        options["compile_config"] = transformers.generation.CompileConfig(mode="default")
        options["compile_config"]._compile_all_devices = True

    def write(**more: Any) -> Any:
        with torch.inference_mode():
            result = module.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, **options, **more)
        if mode == "compiled" and not getattr(module, "_compiled_call", None):
            raise RuntimeError("transformers compiled nothing")
        return result

    def answer(_: Any) -> dict[str, Any]:
        result = write(output_logits=True, return_dict_in_generate=True)
        return {"output": torch.stack(result.logits, 1), "tokens": result.sequences[:, workload.tokens :]}

    return Way(write, answer)


def in_bfloat16(workload: Workload) -> Workload:
    """The same in bfloat16."""
    return dataclasses.replace(workload, dtype="bfloat16")


PREFILL = Workload("prefill", "smollm2", tokens=512)
DECODE = Workload("generate", "smollm2", tokens=16, steps=32)
DECODE_8 = dataclasses.replace(DECODE, batch=8)
REAL: dict[str, Any] = {"absent": absent, "pairs": 5}
LONG: dict[str, Any] = REAL | {
    "left_out": {"compiled": "it compiles for a minute: lm_decode has it, for one text in float32"}
}
CASES = (
    Case("lm_prefill", "SmolLM2-135M, 512 tokens read", PREFILL, "language_prefill", **REAL),
    Case("lm_decode", "the same model, 32 tokens of one text behind 16, greedy", DECODE, "language_decode", **REAL),
    Case("lm_decode_8", "32 tokens of each of 8 texts", DECODE_8, "language_decode", **LONG),
    Case("lm_prefill_bf16", "512 tokens read, weights in bfloat16", in_bfloat16(PREFILL), **REAL),
    Case("lm_decode_bf16", "32 tokens of one text in bfloat16", in_bfloat16(DECODE), **LONG),
    Case("lm_decode_8_bf16", "32 tokens of each of 8 texts in bfloat16", in_bfloat16(DECODE_8), **LONG),
)
