"""Language models over bytes, ours beside torch: a training step, and rollouts.

The peer is written for speed: queries, keys and values are one product, as are both halves of a gated MLP, and
attention is torch's own. "next_token" is a step of AdamW on texts of `tokens` ids, each of which predicts the next.
"rollout" reads `tokens` ids of each text and draws `steps` more with their log-probabilities; both sides draw noise of
their own while they are timed, and for the comparison the peer gets ours, so that both must write the same tokens.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.bench import smollm2, training_steps, weights
from experiments.bench.lazily import cost, functional, jax, jnp, language, networks, rollouts, torch
from experiments.bench.workloads import Case, Way, Workload

build, init = smollm2.build, smollm2.init
SEED = 0
"""Of the key of every rollout."""


def inputs(workload: Workload, _: Any = None) -> dict[str, np.ndarray]:
    """Ids (b, s) and, of a rollout, the "noise" (n, b, v) that is added to logits, by the rule that `language.decoding`
    states.
    """
    rng, vocabulary = np.random.default_rng(0), workload.settings["vocab_size"]
    length = workload.tokens + (workload.kind == "next_token")
    arrays = {"ids": rng.integers(0, vocabulary, (workload.batch, length)).astype(np.int32)}
    if workload.kind != "rollout":
        return arrays
    key = jax.random.key(SEED)

    def one_token(number: Any, index: Any) -> Any:
        return jax.random.gumbel(jax.random.fold_in(jax.random.fold_in(key, index), number), (vocabulary,))

    all_noise = jax.jit(jax.vmap(jax.vmap(one_token, (None, 0)), (0, None)))
    return arrays | {"noise": np.asarray(all_noise(np.arange(workload.steps), np.arange(workload.batch)))}


def flops(workload: Workload) -> float:
    """By formula, of attention the pairs of tokens that the mask lets through."""
    if workload.kind == "rollout":
        return smollm2.flops(workload)
    size = smollm2.size_of(workload)
    return float(
        cost.training_flops(size.active, workload.tokens_done, size.attention_flops(cost.mean_seen(workload.tokens)))
    )


def ours(workload: Workload, arrays: dict[str, Any], folder: str) -> Way:
    """A step, compared by logits of the first text after it and its loss; or a rollout."""
    network, params = build(workload), weights.read(workload, folder)
    forward = jax.jit(lambda params, ids: networks.pure(network)(params, ids).logits)
    if workload.kind == "next_token":
        loss, ids = language.objective.next_token(networks.pure(network)), arrays["ids"]

        def stepped(done: Any) -> dict[str, Any]:
            return {"output": np.append(np.asarray(forward(done[0], ids[:1, :-1])).ravel(), float(done[1]["loss"]))}

        return Way(training_steps.ours(loss, params, language.Texts(ids)), stepped)
    write = jax.jit(functools.partial(roll, workload, network))

    def written(done: Any) -> dict[str, Any]:
        """Log-probabilities plus noise (b, n, v): those of the tokens are the rollout's, the others come from reading
        whole texts.
        """
        text = jnp.concatenate([done.context, done.actions[:, :-1]], 1)
        rows, steps = jnp.indices(done.actions.shape)
        law = jax.nn.log_softmax(forward(params, text)[:, done.context.shape[1] - 1 :], 2)
        law = law.at[rows, steps, done.actions].set(done.log_probs)
        return {"output": law + arrays["noise"].swapaxes(0, 1), "tokens": done.actions}

    return Way(lambda: write(params, arrays["ids"]), written)


def roll(workload: Workload, network: Any, params: Any, prompts: Any, num_tokens: Any = None) -> Any:
    """An answer to each prompt (b, p), drawn at temperature 1. num_tokens: () or (b,) how many tokens it has; None: all
    `steps`.
    """
    texts, length = prompts.shape
    model, cache = (
        language.from_network(networks.pure(network), params),
        language.cache.full(network, texts, length + workload.steps),
    )
    options: dict[str, Any] = {"max_tokens": workload.steps, "num_tokens": num_tokens}
    written = language.generate(jax.random.key(SEED), model, cache, prompts, jnp.arange(texts), **options)
    return rollouts.rollout(written.tokens, written.log_probs, written.tokens >= 0, prompts)


def theirs(workload: Workload, arrays: dict[str, Any], folder: str, mode: str) -> Way:
    """The same by torch, in the mode "eager" or "compiled"."""
    ids = arrays["ids"].long()
    stored = weights.tensors(folder, ids.device)
    if workload.dtype == "float64":
        stored = {name: value.detach().double().requires_grad_() for name, value in stored.items()}
    model = Trunk(workload, stored)
    if workload.kind == "next_token":
        inputs_of, targets = ids[:, :-1].contiguous(), ids[:, 1:].flatten()
        call: Any = torch.compile(model.logits) if mode == "compiled" else model.logits

        def stepped(loss: Any) -> dict[str, Any]:
            with torch.inference_mode():
                return {"output": torch.cat([model.logits(ids[:1, :-1]).flatten(), loss[None]])}

        optimizer = training_steps.torch_adamw(model.weights.values())
        return Way(
            training_steps.theirs(lambda: functional.cross_entropy(call(inputs_of).flatten(0, 1), targets), optimizer),
            stepped,
        )
    slots, fixed = empty(workload, model, ids), mode == "compiled"
    step = torch.compile(advanced) if fixed else advanced
    shape = workload.steps, len(ids), workload.settings["vocab_size"]

    def write() -> Any:
        with torch.inference_mode():
            noise = torch.empty(shape, device=ids.device).exponential_().log_().neg_()  # for all tokens at once
            return written(model, ids, noise, slots, step, fixed=fixed)

    def answer(_: Any) -> dict[str, Any]:
        with torch.inference_mode():
            tokens, log_probs, laws = written(
                model, ids, arrays["noise"], empty(workload, model, ids), advanced, fixed=False
            )
            law = laws.scatter(2, tokens[..., None], log_probs[..., None])
        return {"output": law + arrays["noise"].transpose(0, 1), "tokens": tokens}

    return Way(write, answer)


class Trunk:
    """Ids to vectors and logits by torch, with the table of tokens as the last layer. weights: by our paths.

    Places of tokens in their texts are a slice, or a tensor of numbers (s,).
    """

    def __init__(self, workload: Workload, stored: dict[str, Any]) -> None:
        settings, device, dtype = workload.settings, stored["token"].device, stored["token"].dtype
        self.weights, self.heads, self.depth = stored, settings["num_attention_heads"], settings["num_hidden_layers"]
        self.width, self.epsilon, half = (
            settings["hidden_size"],
            settings["rms_norm_eps"],
            settings["hidden_size"] // self.heads // 2,
        )
        frequencies = settings["rope_theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.arange(settings["max_position_embeddings"], dtype=torch.float64)[:, None] * frequencies
        self.cos = torch.cat([angles.cos(), angles.cos()], -1).to(device, dtype)
        self.sin = torch.cat([-angles.sin(), angles.sin()], -1).to(device, dtype)

    def vectors(self, ids: Any, places: Any, slots: Sequence[Any] | None = None) -> Any:
        """(b, s, width) behind the last norm. With slots of each block, which get these tokens, tokens before these are
        seen too.
        """
        weight = self.weights
        x, cos, sin = functional.embedding(ids, weight["token"]), self.cos[places], self.sin[places]
        for number in range(self.depth):
            at, mask = f"block_{number}", None
            y = functional.linear(self.normed(x, f"{at}/norm_0"), weight[f"{at}/qkv/kernel"])
            query, key, value = y.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
            query, key = turned(query, cos, sin), turned(key, cos, sin)
            if slots is not None:
                key, value, mask = slots[number].updated(key, value, places)
            causal = mask is None and x.shape[1] > 1
            y = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
            x = x + functional.linear(y.transpose(1, 2).flatten(2), weight[f"{at}/output/kernel"])
            gate, wide = functional.linear(self.normed(x, f"{at}/norm_1"), weight[f"{at}/mlp_0/kernel"]).chunk(2, -1)
            x = x + functional.linear(functional.silu(gate) * wide, weight[f"{at}/mlp_1/kernel"])
        return self.normed(x, "output_norm")

    def normed(self, x: Any, name: str) -> Any:
        """By the root of the mean square."""
        return functional.rms_norm(x, (self.width,), self.weights[f"{name}/scale"], self.epsilon)

    def logits(self, ids: Any) -> Any:
        """Of whole texts."""
        return functional.linear(self.vectors(ids, slice(0, ids.shape[1])), self.weights["token"])


def turned(x: Any, cos: Any, sin: Any) -> Any:
    """Queries or keys (…, size) by their positions; the first half of the sines has the other sign."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([second, first], -1) * sin


class Slots:
    """Keys and values (b, heads, places, size) of one block, made once."""

    def __init__(self, shape: tuple[int, ...], device: Any) -> None:
        self.keys, self.values = torch.zeros(shape, device=device), torch.zeros(shape, device=device)

    def updated(self, key: Any, value: Any, places: Any) -> tuple[Any, Any, Any]:
        """Writes tokens at their places: the keys and values that they may see, and a mask where not each sees all, or
        all before it.
        """
        if isinstance(places, slice):
            self.keys[:, :, places], self.values[:, :, places] = key, value
            return self.keys[:, :, : places.stop], self.values[:, :, : places.stop], None
        self.keys.index_copy_(2, places, key)
        self.values.index_copy_(2, places, value)
        return self.keys, self.values, places[:, None] >= torch.arange(self.keys.shape[2], device=places.device)


def empty(workload: Workload, model: Trunk, ids: Any) -> list[Slots]:
    """Room for the texts, in each block."""
    shape = len(ids), model.heads, ids.shape[1] + workload.steps, model.width // model.heads
    return [Slots(shape, ids.device) for _ in range(model.depth)]


def written(model: Trunk, ids: Any, noise: Any, slots: list[Slots], step: Any, *, fixed: bool) -> tuple[Any, Any, Any]:
    """An answer to each prompt (b, p), a token for each row of the noise (n, b, v): tokens and their log-probabilities
    (b, n), all of them.

    fixed: all steps have the shapes of one, as compiled ones must; they see all places through a mask, others the
        tokens so far.
    """
    positions = torch.arange(ids.shape[1] + len(noise), device=ids.device)
    newest, begin, steps = ids, 0, []
    for row in noise:
        end = begin + newest.shape[1]
        steps.append(step(model, newest, positions[begin:end] if fixed else slice(begin, end), slots, row))
        newest, begin = steps[-1][0][:, None], end
    tokens, log_probs, laws = (torch.stack(each, 1) for each in zip(*steps, strict=True))
    return tokens, log_probs, laws


def advanced(model: Trunk, newest: Any, places: Any, slots: list[Slots], noise: Any) -> tuple[Any, Any, Any]:
    """Reads tokens (b, s) at their places: the next one (b,), its log-probability (b,), and those of all tokens (b,
    v).
    """
    logits = functional.linear(model.vectors(newest, places, slots)[:, -1], model.weights["token"])
    law = functional.log_softmax(logits, -1)
    token = (law + noise).argmax(-1)
    return token, law.gather(1, token[:, None])[:, 0], law


def _step(size: str, batch: int) -> Workload:
    return Workload("next_token", f"byte_lm_{size}", batch=batch, tokens=256)


ROLLOUT = Workload("rollout", "byte_lm_medium", batch=16, tokens=32, steps=64)
WRITTEN = "64 tokens sampled behind 16 prompts of 32 by the language model of 3 M parameters"
BYTES = "language model over bytes of 0.1 M parameters, training step, 16 texts of 256"
CASES = (
    Case("lm_train_small", BYTES, _step("small", 16), exact=True),
    Case("lm_train_medium", "the same of 3 M parameters, 8 texts", _step("medium", 8), exact=True),
    Case("lm_train_large", "the same of 25 M parameters, 4 texts", _step("large", 4), exact=True),
    Case("rollout", WRITTEN, ROLLOUT),
)
