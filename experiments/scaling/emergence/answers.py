"""What a trained network answers to held-out sums: the chance of each right digit, its likeliest answer, and answers that are sampled."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.scaling.emergence import train
from experiments.scaling.emergence.config import Config
from gendiff import language, networks
from gendiff.core.types import Params
from gendiff.data.sums import SumFormat
from gendiff.language import processors
from gendiff.runs import devices, seeds_together
from gendiff.runs.run_folder import RunFolder

DRAWN = np.uint32(2**32 - 5)
"""What the key of sampled answers folds into key(0): none of a training does."""


@dataclass(frozen=True)
class Answers:
    """Of the networks of one size, trained on one kind of answers; n held-out sums with k digits per answer.

    truth: (n, k) the right ones. probabilities: (seeds, n, k, symbols) of each digit, after the question and the right digits before it.
    likeliest: (seeds, n, k) by always taking the likeliest next digit. right: (seeds,) sampled answers that are right in every digit.
    sampled: how many were sampled per seed.
    """

    truth: np.ndarray
    probabilities: np.ndarray
    likeliest: np.ndarray
    right: np.ndarray
    sampled: int


def read(config: Config, folder: RunFolder, kind: str, width: int) -> Answers:
    """Of the networks that a run has trained."""
    pairs = train.held_out(config)
    return ask(train.network(config, width), train.restore(config, folder, kind, width), train.written(config, kind), pairs, config.samples)


def ask(network: networks.LanguageModel, params: Params, written: SumFormat, pairs: np.ndarray, samples: int) -> Answers:
    """Of networks whose parameters have an axis of seeds in front."""
    probabilities, answer = _programs(network, written.prompt_length, written.answer_length)
    prompts, truth, rows = written.prompts(pairs), written.answers(pairs), written.rows(pairs)
    chances, likeliest, right = [], [], []
    for number in range(len(jax.tree.leaves(params)[0])):
        of = seeds_together.of_seed(params, number)
        chances.append(np.asarray(probabilities(of, rows)))
        likeliest.append(np.asarray(answer(of, prompts, np.arange(len(pairs)), 0.0)))
        drawn = (answer(of, prompts, np.arange(turn * len(pairs), (turn + 1) * len(pairs)), 1.0) for turn in range(samples))
        right.append(sum(int((np.asarray(each) == truth).all(1).sum()) for each in drawn))
    return Answers(truth, np.stack(chances), np.stack(likeliest), np.array(right), samples * len(pairs))


@functools.lru_cache(maxsize=2)  # those of a size serve all kinds of answers and all seeds
def _programs(network: networks.LanguageModel, prompt: int, answer: int) -> tuple[Any, Any]:
    """(params, rows) -> probabilities, and (params, prompts, index, temperature) -> answers."""
    predict = networks.pure(network)

    def probabilities(params: Params, rows: jax.Array) -> jax.Array:
        return jax.nn.softmax(predict(params, rows[:, :-1]).logits[:, prompt - 1 :], 2)

    def generate(params: Params, prompts: jax.Array, index: jax.Array, temperature: jax.Array) -> jax.Array:
        cache = language.cache.full(network, prompts.shape[0], prompt + answer)
        key, model = jax.random.fold_in(jax.random.key(0), DRAWN), language.from_network(predict, params)
        warm = processors.temperature(temperature)
        return language.generate(key, model, cache, jnp.asarray(prompts), index, max_tokens=answer, processor=warm).tokens

    return devices.jit(probabilities), devices.jit(generate)
