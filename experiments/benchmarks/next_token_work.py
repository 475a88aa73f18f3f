"""Our side of the cases that train a language model: a step of AdamW on the loss of the next token."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax

from experiments.benchmarks import language_work
from experiments.benchmarks.workloads import ADAMW, Workload
from gendiff import language, networks, scaling, training
from gendiff.core.types import Loss, Params
from gendiff.runs import devices
from gendiff.training import optimizers

Arrays = Mapping[str, jax.Array]


def trainer(workload: Workload, network: networks.LanguageModel, params: Params, given: Arrays) -> Callable[[], Any]:
    """A step on arrays["ids"]; the answer is (parameters after it, metrics). The state is donated, so the parameters are copied first."""
    return stepped(language.objective.next_token(networks.pure(network)), params, language.Texts(given["ids"]))


def stepped(loss: Loss, params: Params, batch: Any) -> Callable[[], Any]:
    """A step of AdamW on a loss of a batch; the answer is (parameters after it, metrics). The state is donated."""
    optimizer = optimizers.FiniteUpdates(*optax.adamw(ADAMW["rate"], *ADAMW["betas"], weight_decay=ADAMW["decay"]))
    update = training.make_step(loss, optimizer)
    held = [training.start(params, optimizer, jax.random.key(0), ())]
    step = devices.compiled(devices.jit(update, donate_argnums=0), held[0], batch)

    def work() -> Any:
        held[0], metrics = step(held[0], batch)
        return held[0].params, metrics

    return work


def answers(workload: Workload, network: networks.LanguageModel, given: Arrays, result: Any) -> dict[str, np.ndarray]:
    """Logits of the first text after the step, and the loss of it, which depend on every weight and every gradient."""
    params, metrics = result
    logits = np.asarray(_read(network)(params, given["ids"][:1, :-1]).logits)
    return {"output": np.append(logits.ravel(), float(metrics["loss"]))}


def flops(workload: Workload) -> float:
    """Of a step by formula; of attention, the pairs of tokens that the mask lets through."""
    size = language_work.size_of(workload)
    seen = scaling.cost.mean_seen(workload.tokens)
    return float(scaling.cost.training_flops(size.active, workload.tokens_done, size.attention_flops(seen)))


@functools.lru_cache(maxsize=2)
def _read(network: networks.LanguageModel) -> Callable[..., Any]:
    return jax.jit(networks.pure(network))
