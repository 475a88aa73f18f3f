"""Texts that the model writes under every mark, in parts that are kept: what has been written is not written again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.provenance.watermark_text import attacks, marks, null
from experiments.provenance.watermark_text.config import Config
from experiments.provenance.watermark_text.marks import GREEN, GUMBEL, TOURNAMENT
from gendiff import language, networks
from gendiff.commands.chat import models, steps
from gendiff.core import files, npz
from gendiff.pipelines import Chat
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder


@dataclass(frozen=True)
class Part:
    """Texts that are written in one call. mark: kind and delta; delta 0 is no mark. anew: which share is written anew
    without a key.
    """

    seed: int
    start: int
    kind: str
    delta: float
    anew: float = 0.0

    @property
    def name(self) -> str:
        """Of its file."""
        words = (
            f"anew_{self.anew:g}"
            if self.anew
            else marks.SLUGS[self.kind] + (f"_{self.delta:g}" if self.kind == GREEN else "")
        )
        return f"texts_{words}_seed_{self.seed}_{self.start}.npz"

    @property
    def original(self) -> "Part":
        """The part of which this one is a paraphrase."""
        return Part(self.seed, self.start, self.kind, self.delta)

    @property
    def key(self) -> int:
        """The secret, equal for all deltas and paraphrases of the same texts."""
        return marks.keys(1, self.seed, self.start, marks.KINDS.index(self.kind), 1)[0]


@dataclass(frozen=True)
class Written:
    """tokens: (b, n) without the prompts. losses, entropies: (b, n) of the unmarked model, in nats."""

    tokens: np.ndarray
    losses: np.ndarray
    entropies: np.ndarray


def parts(config: Config) -> list[Part]:
    """All of them: paraphrases stand behind what they paraphrase."""
    starts, first = range(0, config.few, config.together), config.seeds[0]
    main = [
        Part(seed, start, GREEN, config.delta)
        for seed in config.seeds
        for start in range(0, config.texts, config.together)
    ]
    deltas = [
        Part(first, start, GREEN, delta) for delta in (0.0, *config.deltas) if delta != config.delta for start in starts
    ]
    kinds = [Part(first, start, kind, config.delta) for kind in (GUMBEL, TOURNAMENT) for start in starts]
    anew = [Part(first, start, GREEN, config.delta, share) for share in config.paraphrased for start in starts]
    return [*main, *deltas, *kinds, *anew]


def opened(config: Config) -> Chat:
    """The model."""
    return models.tiny() if config.tiny else models.opened()


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Writes every part that is not there yet."""
    todo = [part for part in parts(config) if not (folder.path / part.name).exists()]
    if not todo:
        return
    chat = opened(config)
    line, size = null.ids(chat.tokenizer), config.prompt
    write, read = steps.jit(_writer(config, chat)), steps.jit(_reader(chat))
    with progress.task("write texts", len(todo)) as task:
        for number, part in enumerate(todo):
            index = np.arange(part.start, part.start + config.together) + config.texts * config.seeds.index(part.seed)
            # a quarter of each piece, so that prompts differ
            prompt = null.pieces(line, 4 * size, int(index[-1]) + 1)[index, :size]
            processor: Any = marks.build(config, part.kind, part.key, chat.network.vocabulary, delta=part.delta)
            if part.anew:
                spans = attacks.spans(config.tokens, part.anew, config.span)
                processor = attacks.Anew(load(folder, part.original).tokens, spans)
            # the old noise would write the old words again
            key = jax.random.key(part.seed + (1 << 20 if part.anew else 0))
            tokens = np.asarray(write(key, chat.params, jnp.asarray(prompt), jnp.asarray(index), processor))
            both = [read(chat.params, jnp.asarray(row)) for row in np.concatenate([prompt, tokens], 1)]
            losses, entropies = (np.stack([np.asarray(one[at])[size - 1 :] for one in both]) for at in range(2))
            _write(folder.path / part.name, Written(tokens, losses, entropies))
            task.update(number + 1)


def load(folder: RunFolder, part: Part) -> Written:
    """One part. DataError where it is missing or damaged."""
    file = npz.existing(folder.path / part.name, ".npz")
    return Written(**npz.guarded(file, lambda: npz.read(file, ["tokens", "losses", "entropies"])))


def written(config: Config, folder: RunFolder) -> Iterator[tuple[Part, Written]]:
    """All parts with their texts."""
    for part in parts(config):
        yield part, load(folder, part)


def _writer(config: Config, chat: Chat) -> Callable[..., jax.Array]:
    predict, room = networks.pure(chat.network), config.prompt + config.tokens

    def write(key: jax.Array, params: Any, prompt: jax.Array, index: jax.Array, processor: Any) -> jax.Array:
        cache = language.cache.full(chat.network, config.together, room)
        model = language.from_network(predict, params)
        return language.generate(key, model, cache, prompt, index, max_tokens=config.tokens, processor=processor).tokens

    return write


def _reader(chat: Chat) -> Callable[..., tuple[jax.Array, jax.Array]]:
    predict = networks.pure(chat.network)

    def read(params: Any, line: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(n − 1,) losses and entropies of a line of tokens (n,)."""
        log_probs = jax.nn.log_softmax(predict(params, line[None]).logits[0, :-1])
        losses = -jnp.take_along_axis(log_probs, line[1:, None], 1)[:, 0]
        return losses, -jnp.sum(jnp.exp(log_probs) * log_probs, 1)

    return read


def _write(path: Path, written: Written) -> None:
    with files.replacing(path) as file:
        np.savez(file, tokens=written.tokens, losses=written.losses, entropies=written.entropies)
