"""Replies of the small model to held-out orders at every stage, and of SmolLM2 to questions in three frames."""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.language import questions, replies
from experiments.language.replies import Asked, Marks
from experiments.preferences import responses
from experiments.preferences.instruct import orders, train
from experiments.preferences.instruct.config import Config
from experiments.preferences.instruct.train import BASE, TUNINGS
from gendiff import networks
from gendiff.commands.chat import models
from gendiff.core.types import Params
from gendiff.runs import devices, seeds_together
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

LONGEST = orders.ORDER + 1
"""Tokens of a reply, at most: room for a further order."""
STATED = len(b"add 12 34 is ")
"""Tokens of a fact before its result."""
PLAIN, FRAME, TEMPLATE = "plain text", "between “Question:” and “Answer:”", "chat template"


class Replies(NamedTuple):
    """tokens: (n, LONGEST) likeliest replies, −1 behind them. finished: (n,). chance: (n,) of the right response and its end, exact."""

    tokens: np.ndarray
    finished: np.ndarray
    chance: np.ndarray


@dataclass(frozen=True)
class Marked:
    """Of one network and seed, (n,) each.

    responds: whether the reply has the form of a response and ends there. right: whether it is also the right one. begins: whether it
    begins with the right one, whatever follows. continues: whether it goes on with a further order. chance: of the right response and its
    end, by the product of the chances of its tokens.
    """

    responds: np.ndarray
    right: np.ndarray
    begins: np.ndarray
    continues: np.ndarray
    chance: np.ndarray
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Small:
    """Of one seed. marked: by the name of the network. stated: (n,) whether the first training's network completes the fact rightly."""

    marked: dict[str, Marked]
    stated: np.ndarray


def small(config: Config, folder: RunFolder, progress: Progress) -> list[Small]:
    """Of every seed, from the networks of a run."""
    module, (verbs, pairs) = train.network(config), train.held_out(config)
    params = {name: train.restore(config, folder, name) for name in (BASE, *TUNINGS)}
    right, told = orders.responses(verbs, pairs), orders.facts(verbs, pairs)[:, :STATED]
    found = []
    with progress.phase("small model"):
        for number in range(len(config.seeds)):
            of_seed = {name: seeds_together.of_seed(of, number) for name, of in params.items()}
            marked_by = {name: marked(reply(module, of, verbs, pairs), right) for name, of in of_seed.items()}
            stated = written(module, of_seed[BASE], told, orders.RESPONSE)[0]
            found.append(Small(marked_by, orders.is_right(stated, right)))
    return found


def asked(config: Config) -> Asked:
    """The questions to SmolLM2, with their answers."""
    return questions.questions()[: config.questions]


def large(config: Config, progress: Progress) -> dict[str, Marks]:
    """SmolLM2's replies to all questions at once, by the frame in which they are asked."""
    chat, given = models.tiny() if config.tiny else models.opened(), asked(config)
    texts = [question for question, _ in given]
    framed = {PLAIN: (texts, False), FRAME: ([f"Question: {text}\nAnswer:" for text in texts], False), TEMPLATE: (texts, True)}
    found = {}
    for frame, (prompts, template) in framed.items():
        with progress.phase(frame):
            found[frame] = replies.marks(models.answers(chat, prompts, config.max_tokens, template=template), given)
    return found


def reply(network: networks.LanguageModel, params: Params, verbs: np.ndarray, pairs: np.ndarray) -> Replies:
    """To orders by their verbs and numbers."""
    order, response = orders.orders(verbs, pairs), orders.responses(verbs, pairs)
    rows = np.concatenate([order, response, np.full((len(order), 1), orders.END, np.int32)], 1)
    return Replies(*written(network, params, order, LONGEST), np.asarray(_chances(network)(params, rows)))


def marked(of: Replies, right: np.ndarray) -> Marked:
    """Replies against the right responses (n, 3)."""
    responds, begins = orders.is_response(of.tokens, of.finished), orders.is_right(of.tokens, right)
    shown = tuple(orders.text(row) for row in of.tokens[: 2 * len(orders.VERBS)])
    return Marked(responds, responds & begins, begins, orders.is_order(of.tokens), of.chance, shown)


def written(network: networks.LanguageModel, params: Params, prompt: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest tokens (n, most) behind prompts, and whether they end (n,)."""
    return jax.device_get(_write(network, most)(params, prompt))


@functools.lru_cache(maxsize=4)
def _write(network: networks.LanguageModel, most: int) -> Any:
    def write(params: Params, prompt: jax.Array) -> tuple[jax.Array, jax.Array]:
        key, index = jax.random.key(0), jnp.arange(prompt.shape[0])  # nothing is drawn
        of = responses.write(network, params, key, prompt, index, most, temperature=0.0, stop=(orders.END,))
        return of.tokens, of.finished

    return devices.jit(write, libraries=False)


@functools.lru_cache(maxsize=4)
def _chances(network: networks.LanguageModel) -> Any:
    predict = networks.pure(network)

    def chances(params: Params, rows: jax.Array) -> jax.Array:
        return jnp.exp(responses.log_probs(predict, params, rows, orders.ORDER))

    return devices.jit(chances, libraries=False)
