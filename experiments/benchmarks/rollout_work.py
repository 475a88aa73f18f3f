"""Our side of the case with rollouts: `language.generate` samples texts and their log-probabilities, as `preferences.rollouts` keeps them.

Both sides draw noise of their own while they are timed. For the comparison the peer gets ours, so that both must write the same tokens.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import language_work
from experiments.benchmarks.workloads import NETWORKS, Workload
from gendiff import language, networks
from gendiff.core.types import Count, Params
from gendiff.preferences import rollouts
from gendiff.preferences.rollouts import Rollout

Arrays = Mapping[str, jax.Array]
SEED = 0
"""Of the key of every rollout."""


def inputs(workload: Workload) -> dict[str, np.ndarray]:
    """What `generate` adds to the logits of each token, "noise" (n, b, v), by the rule that `language.decoding` states."""
    key, vocabulary = jax.random.key(SEED), NETWORKS[workload.network].settings["vocab_size"]

    def drawn(number: jax.Array, index: jax.Array) -> jax.Array:
        return jax.random.gumbel(jax.random.fold_in(jax.random.fold_in(key, index), number), (vocabulary,))

    every = jax.vmap(jax.vmap(drawn, (None, 0)), (0, None))
    return {"noise": np.asarray(jax.jit(every)(jnp.arange(workload.steps), jnp.arange(workload.batch)))}


def roll(
    workload: Workload, network: networks.LanguageModel, params: Params, prompts: jax.Array, num_tokens: Count | np.ndarray | None = None
) -> Rollout:
    """An answer to each prompt (b, p), drawn at temperature 1. num_tokens: () or (b,) how many tokens it has; None: all `steps`."""
    texts, length = prompts.shape
    model, cache = language.from_network(networks.pure(network), params), language.cache.full(network, texts, length + workload.steps)
    options: dict[str, Any] = {"max_tokens": workload.steps, "num_tokens": num_tokens}
    written = language.generate(jax.random.key(SEED), model, cache, prompts, jnp.arange(texts), **options)
    return rollouts.rollout(written.tokens, written.log_probs, written.tokens >= 0, prompts)


def writer(workload: Workload, network: networks.LanguageModel, params: Params, given: Arrays) -> Callable[[], Any]:
    """A rollout of arrays["ids"]; the answer is (parameters, rollout)."""
    write = jax.jit(functools.partial(roll, workload, network))
    return lambda: (params, write(params, given["ids"]))


def answers(workload: Workload, network: networks.LanguageModel, given: Arrays, done: Any) -> dict[str, np.ndarray]:
    """The tokens (b, n), and the log-probabilities plus noise (b, n, v) of which each is the largest.

    That of the token itself has the log-probability that the rollout kept, the others come from reading whole texts.
    """
    params, written = done
    return {"output": np.asarray(_scores(network)(params, written, given["noise"])), "tokens": np.asarray(written.actions)}


flops = language_work.flops


@functools.lru_cache(maxsize=2)
def _scores(network: networks.LanguageModel) -> Callable[..., jax.Array]:
    def scores(params: Params, written: Rollout, noise: jax.Array) -> jax.Array:
        text = jnp.concatenate([written.context, written.actions[:, :-1]], 1)
        logits = networks.pure(network)(params, text).logits[:, written.context.shape[1] - 1 :]
        rows, steps = jnp.indices(written.actions.shape)
        law = jax.nn.log_softmax(logits, 2).at[rows, steps, written.actions].set(written.log_probs)
        return law + noise.swapaxes(0, 1)

    return jax.jit(scores)
