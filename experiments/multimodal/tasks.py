"""What the networks learn: digits with captions, scenes with questions and answers, as pictures and rows of tokens."""

import functools
from dataclasses import dataclass

import jax
import numpy as np

from experiments.multimodal.config import BOTH, CAPTIONS, DIGIT_PATCH, PICTURES, SCENE_PATCH, SCENES, Config
from gendiff.data import batches, digits, picture_texts, scene_questions, shapes, word_vocabulary
from gendiff.data.picture_texts import PictureTexts
from gendiff.data.word_vocabulary import END, WordVocabulary
from gendiff.language import Texts
from gendiff.pipelines import Interleaved

UNSEEN = 2**32 - 1
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


def of(config: Config, name: str) -> Task:
    """What the network of this name learns from."""
    return scenes(config) if name == SCENES else known_digits()


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


@functools.lru_cache(maxsize=2)
def scenes(config: Config) -> Task:
    """Scenes without held-out pairs, and a question about each."""
    return _questions(picture_texts.captioned_shapes(_recipe(), config.side, 0, np.arange(config.scenes)))


@functools.lru_cache(maxsize=2)
def unseen_scenes(config: Config) -> Task:
    """Scenes with a held-out pair in one object, and a question about it."""
    index = np.arange(config.asked)
    return _questions(picture_texts.captioned_shapes(_recipe(), config.side, UNSEEN, index, unseen=True))


def captions(labels: np.ndarray) -> np.ndarray:
    """(n, l) texts of digits by their labels."""
    task, known = known_digits(), digits.load().train_labels
    first = np.array([np.flatnonzero(known == label)[0] for label in range(digits.CLASSES)])
    return task.texts[first[labels]]


def documents(config: Config, name: str, step: int) -> tuple[Interleaved, ...]:
    """(batch, seeds, …) documents of a step: those of a seed are a function of (seed, step)."""
    task = of(config, name)
    drawn = [_documents(task, name, batches.batch_at(len(task), config.batch, seed, step)) for seed in config.seeds]
    return jax.tree.map(lambda *leaves: np.stack(leaves, 1), *drawn)


def _documents(task: Task, name: str, rows: np.ndarray) -> tuple[Interleaved, ...]:
    pictures, tokens, weight = task.pictures[rows], task.texts[rows], task.weight[rows]
    described = Interleaved((Texts(tokens, weight * (name != PICTURES)), pictures))
    said = Interleaved((pictures, Texts(tokens, weight)))
    return {BOTH: (described, said), CAPTIONS: (said,), PICTURES: (described,), SCENES: (said,)}[name]


def _captioned(images: np.ndarray, labels: np.ndarray) -> Task:
    made = picture_texts.captioned_digits(images, labels)
    words = word_vocabulary.vocabulary(made.texts)  # every digit is there
    asked = np.full((len(labels), 1), BEGIN, np.int32)
    return _task(made, DIGIT_PATCH, words, asked, made.texts, made.texts)


def _questions(made: PictureTexts) -> Task:
    words, texts = _scene_words(), [f"{question} {answer}" for question, answer in zip(made.questions, made.answers, strict=True)]
    asked = _begun(words.encode(made.questions, word_vocabulary.longest(made.questions), end=False))
    return _task(made, SCENE_PATCH, words, asked, texts, made.answers)


def _task(made: PictureTexts, patch: int, words: WordVocabulary, asked: np.ndarray, texts: list[str], answers: list[str]) -> Task:
    tokens = _begun(words.encode(texts, word_vocabulary.longest(texts)))
    learned = np.arange(tokens.shape[1])[None] >= (asked >= 0).sum(1)[:, None]
    return Task(words, patch, made.pictures, tokens, learned.astype(np.float32), asked, answers)


def _begun(tokens: np.ndarray) -> np.ndarray:
    return np.pad(tokens, ((0, 0), (1, 0)), constant_values=BEGIN)


def _recipe() -> shapes.Recipe:
    return shapes.Recipe(held_out=scene_questions.held_out_pairs())


@functools.cache
def _scene_words() -> WordVocabulary:
    """All words of questions and answers, which 2,000 scenes use."""
    index = np.arange(2000)
    scenes = shapes.draw(_recipe(), 0, index)
    asked = scene_questions.ask(_recipe(), scenes.attributes, 0, index)
    return word_vocabulary.vocabulary([*asked, *scene_questions.NUMBERS, *shapes.COLOURS, *shapes.SHAPES])
