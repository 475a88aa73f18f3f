"""What a language model in each format loses: likelihood of real text, answers, and the time of a step."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.language import questions
from experiments.language.quantise.config import Config
from experiments.language.quantise.formats import formats
from gendiff import language, networks
from gendiff.commands.chat import models, steps
from gendiff.core import arrays
from gendiff.pipelines import Chat
from gendiff.runs import interleaving
from gendiff.runs.progress import Progress
from gendiff.weights import quantised


@dataclass(frozen=True)
class Measured:
    """Of one format. losses: of each token, in nats. best: the likeliest token at each place. right: by question. seconds: of a step."""

    nbytes: int
    losses: np.ndarray
    best: np.ndarray
    right: np.ndarray
    seconds: tuple[float, ...] = ()


def measured(config: Config, chat: Chat, ids: np.ndarray, progress: Progress) -> dict[str, Measured]:
    """Every format. ids: of real text, at least config's `tokens`."""
    pieces = ids[: config.tokens // config.piece * config.piece].reshape(-1, config.piece)
    read, found, works = steps.jit(reader(chat.network)), {}, dict[str, Any]()
    step = steps.in_place()
    cache, predict = language.cache.full(chat.network, 1, min(256, chat.network.context)), networks.pure(chat.network)
    for name, form in formats(tables=True).items():
        with progress.phase(name):
            params = form(chat.params)
            parts = [read(params, piece[None]) for piece in pieces]
            losses, best = (np.concatenate([np.asarray(part[at]) for part in parts]) for at in range(2))
            right = _answers(config, Chat(chat.network, params, chat.tokenizer, chat.template))
            found[name] = Measured(quantised.nbytes(params), losses, best, right)
            works[name] = step(language.from_network(predict, params), ids[:1][None], cache)
    with progress.phase("times"):
        seconds = interleaving.timed(works, config.rounds)
    return {name: Measured(of.nbytes, of.losses, of.best, of.right, seconds[name]) for name, of in found.items()}


def reader(network: networks.LanguageModel) -> Any:
    """From parameters and one line (1, s) to the losses (s - 1,) of its tokens and the likeliest token (s,) after each."""

    def read(params: Any, line: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = networks.pure(network)(params, line).logits[0]
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits[:-1]), jnp.asarray(line)[0, 1:, None], 1)
        return -chosen[:, 0], arrays.argmax(logits)

    return read


def _answers(config: Config, chat: Chat) -> np.ndarray:
    """Which questions are answered rightly, greedily, in the chat template."""
    asked = questions.questions()[: config.questions]
    given = models.answers(chat, [question for question, _ in asked], config.max_tokens)
    return np.array([questions.holds(answer.text, right) for answer, (_, right) in zip(given, asked, strict=True)])
