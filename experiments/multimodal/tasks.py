"""What the networks learn: digits with captions, scenes with questions and answers, as pictures and rows of tokens."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.multimodal.config import BOTH, DIGIT_PATCH, PICTURES, SCENE_PATCH, SCENES, Config
from experiments.tasks import captioned_images, scene_questions, shapes, word_vocabulary
from experiments.tasks.word_vocabulary import END, WordVocabulary
from gendiff.data import batches, digits
from gendiff.language import Texts
from gendiff.pipelines import Interleaved

JUDGED = 2**32 - 1
"""The stream of the scenes that are judged."""
BEGIN = END
"""The token that begins each text is the one that ends it."""


@dataclass(frozen=True, eq=False)
class Task:
    """Pictures (n, h, w, c) and texts (n, l), begun and ended.

    weight: (n, l) which tokens are learned. asked: (n, q) what stands before an answer. answers: in words.
    """

    words: WordVocabulary
    patch: int
    pictures: np.ndarray
    texts: np.ndarray
    weight: np.ndarray
    asked: np.ndarray
    answers: list[str]

    def __len__(self) -> int:
        return len(self.pictures)


def task_of(config: Config, name: str) -> Task:
    """What the network of this name learns from; of scenes a few."""
    return seen_scenes(config, name) if name in SCENES else known_digits()


@functools.cache
def known_digits() -> Task:
    """The training digits with captions."""
    split = digits.load()
    return _captioned(split.train_images, split.train_labels)


@functools.cache
def held_out_digits() -> Task:
    """The held-out digits with captions."""
    split = digits.load()
    return _captioned(split.held_out_images, split.held_out_labels)


def scenes(config: Config, name: str, seed: int, index: np.ndarray, *, unseen: bool = False) -> Task:
    """Scenes of a stream without what is held out of this network, or each with it in one object, and a question about
    each.
    """
    options: dict[str, Any] = {"kinds": scene_questions.BY_PLACE, "unseen": unseen}
    captioned = captioned_images.captioned_shapes(
        shapes.Recipe(held_out=SCENES[name]), config.side, seed, index, **options
    )
    words, longest = _scene_words()
    texts = [f"{question} {answer}" for question, answer in zip(captioned.questions, captioned.answers, strict=True)]
    prompts = _begun(words.encode(captioned.questions, longest, end=False))
    return _task(captioned.images, SCENE_PATCH, words, prompts, _begun(words.encode(texts, longest)), captioned.answers)


@functools.lru_cache(maxsize=4)
def seen_scenes(config: Config, name: str) -> Task:
    """Scenes that no training shows, of objects that it shows."""
    return scenes(config, name, JUDGED, np.arange(config.asked))


@functools.lru_cache(maxsize=4)
def unseen_scenes(config: Config, name: str) -> Task:
    """Scenes with one object that is held out, and a question about it."""
    return scenes(config, name, JUDGED, np.arange(config.asked), unseen=True)


def questions(task: Task) -> list[str]:
    """(n,) what is asked, in words."""
    return task.words.decode(task.asked[:, 1:])


def captions(labels: np.ndarray) -> np.ndarray:
    """(n, l) texts of digits by their labels."""
    task, known = known_digits(), digits.load().train_labels
    first = np.array([np.flatnonzero(known == label)[0] for label in range(digits.CLASSES)])
    return task.texts[first[labels]]


def documents(config: Config, name: str, step: int) -> tuple[Interleaved, ...]:
    """(batch, seeds, …) documents of a step: those of a seed are a function of (seed, step). No step repeats a scene of
    another.
    """
    by_seed = [_documents(*_rows(config, name, seed, step), name) for seed in config.seeds]
    return jax.tree.map(lambda *leaves: np.stack(leaves, 1), *by_seed)


def _rows(config: Config, name: str, seed: int, step: int) -> tuple[Task, np.ndarray]:
    """What the documents of a step are made of, and which rows of it."""
    if name in SCENES:
        return scenes(config, name, seed, step * config.batch + np.arange(config.batch)), np.arange(config.batch)
    return known_digits(), batches.batch_at(len(known_digits()), config.batch, seed, step)


def _documents(task: Task, rows: np.ndarray, name: str) -> tuple[Interleaved, ...]:
    pictures, tokens, weight = task.pictures[rows], task.texts[rows], task.weight[rows]
    described = Interleaved((Texts(tokens, 0 * weight), pictures))  # what stands in front says how to draw
    answered = Interleaved((pictures, Texts(tokens, weight)))
    return {BOTH: (described, answered), PICTURES: (described,)}.get(name, (answered,))


def _captioned(images: np.ndarray, labels: np.ndarray) -> Task:
    captioned = captioned_images.captioned_digits(images, labels)
    words = word_vocabulary.vocabulary(captioned.texts)  # every digit is there
    texts = _begun(words.encode(captioned.texts, word_vocabulary.longest(captioned.texts)))
    return _task(
        captioned.images, DIGIT_PATCH, words, np.full((len(labels), 1), BEGIN, np.int32), texts, captioned.texts
    )


def _task(
    pictures: np.ndarray, patch: int, words: WordVocabulary, prompts: np.ndarray, texts: np.ndarray, answers: list[str]
) -> Task:
    learned = np.arange(texts.shape[1])[None] >= (prompts >= 0).sum(1)[:, None]
    return Task(words, patch, pictures, texts, learned.astype(np.float32), prompts, answers)


def _begun(tokens: np.ndarray) -> np.ndarray:
    return np.pad(tokens, ((0, 0), (1, 0)), constant_values=BEGIN)


@functools.cache
def _scene_words() -> tuple[WordVocabulary, int]:
    """All words of questions and answers, which 2,000 scenes use, and the tokens of the longest question with its
    answer.
    """
    recipe, index = shapes.Recipe(), np.arange(2000)
    asked_questions = scene_questions.ask(recipe, shapes.draw(recipe, 0, index).attributes, 0, index)
    words = word_vocabulary.vocabulary([*asked_questions, *scene_questions.NUMBERS, *shapes.COLOURS, *shapes.SHAPES])
    return words, word_vocabulary.longest(asked_questions) + 1
