"""What each network draws, says and answers, and its losses."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.multimodal import documents, tasks
from experiments.multimodal.config import BOTH, CAPTIONS, PICTURES, SCENES, TOGETHER, Config
from experiments.multimodal.tasks import Task
from experiments.tasks import scene_questions
from gendiff import diffusion, networks
from gendiff.core.types import Params
from gendiff.data import digits, scaling
from gendiff.diffusion import process
from gendiff.language import processors
from gendiff.metrics import classifier_accuracy
from gendiff.runs import devices

SHOWN = 20
"""Pictures and questions that are shown."""
DRAWING = 1
"""Seed of pictures; their noise in losses has the next one."""


@dataclass(frozen=True, eq=False)
class Answered:
    """Of a network of scenes: (q,) whether answers about what is held out are right, with the scene and with another
    one, and whether those about objects of training are. answers: the first ones about what is held out.
    """

    unseen: np.ndarray
    blind: np.ndarray
    trained: np.ndarray
    answers: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Judged:
    """Of one seed.

    drawn: (n,) whether the classifier sees the digit of the caption. mismatched: that of another caption. captioned:
    (m,) whether the caption of a held-out digit is right. scenes: by the name of the network. text_loss, picture_loss:
    of each held-out digit (m,), by the name of the network. language: the largest difference of logits.
    """

    drawn: np.ndarray
    mismatched: np.ndarray
    captioned: np.ndarray
    scenes: Mapping[str, Answered]
    text_loss: Mapping[str, np.ndarray]
    picture_loss: Mapping[str, np.ndarray]
    language: float
    pictures: np.ndarray
    captions: tuple[str, ...]


def judge(config: Config, params: Mapping[str, Params]) -> Judged:
    """Of the networks of one seed, by their names."""
    labels, task = np.arange(config.samples) % digits.CLASSES, tasks.held_out_digits()
    pictures = draw(config, params[BOTH], labels)
    split, rounded = digits.load(), np.asarray(scaling.round_to_levels(pictures, digits.LEVELS))
    classifier = classifier_accuracy.train(split.train_images, split.train_labels)
    correct = [
        classifier_accuracy.correct(classifier, rounded, expected)
        for expected in (labels, (labels + 1) % digits.CLASSES)
    ]
    captions = captioned(config, params[BOTH], task.pictures)
    return Judged(
        drawn=correct[0],
        mismatched=correct[1],
        captioned=_equal(captions, task.answers),
        scenes={name: answers(config, name, params[name]) for name in SCENES},
        text_loss={name: text_loss(config, name, params[name]) for name in (BOTH, CAPTIONS)},
        picture_loss={name: picture_loss(config, name, params[name]) for name in (BOTH, PICTURES)},
        language=difference(config, params[BOTH]),
        pictures=pictures[:SHOWN],
        captions=tuple(captions[:SHOWN]),
    )


def draw(config: Config, params: Params, labels: np.ndarray, seed: int = DRAWING) -> np.ndarray:
    """(n, 8, 8, 1) pictures of the captions of digits (n,). seed: of their noise."""
    texts, index = tasks.captions(labels), np.arange(len(labels))
    return _in_parts(functools.partial(_draw(config), params, jax.random.key(seed)), texts, index)


def captioned(config: Config, params: Params, pictures: np.ndarray) -> list[str]:
    """The likeliest captions of digits (n, 8, 8, 1)."""
    return tasks.held_out_digits().words.decode(_in_parts(functools.partial(_write(config), params), pictures))


def answers(config: Config, name: str, params: Params) -> Answered:
    """What a network of scenes answers about objects of training and about held-out ones."""
    unseen, trained = tasks.unseen_scenes(config, name), tasks.seen_scenes(config, name)
    chosen, blind = (
        likeliest(config, name, params, unseen, pictures)
        for pictures in (unseen.pictures, np.roll(unseen.pictures, 1, 0))
    )
    known = likeliest(config, name, params, trained, trained.pictures)
    right = _equal(chosen, unseen.answers), _equal(blind, unseen.answers), _equal(known, trained.answers)
    return Answered(*right, tuple(chosen[:SHOWN]))


def likeliest(config: Config, name: str, params: Params, task: Task, pictures: np.ndarray) -> list[str]:
    """The likeliest of the answers that each question of a task allows, about these pictures."""
    allowed = [scene_questions.choices(question) for question in tasks.questions(task)]
    most = max(map(len, allowed))
    words = [[*each, *each[:1] * (most - len(each))] for each in allowed]
    tokens = np.stack([task.words.encode(each, 2) for each in words])
    likely = _in_parts(functools.partial(_weigh(config, name), params), pictures, task.asked, tokens)
    return [each[at] for each, at in zip(words, likely.argmax(1), strict=True)]


def text_loss(config: Config, name: str, params: Params) -> np.ndarray:
    """(m,) nats per token of the captions of held-out digits, behind the clean pictures."""
    task = tasks.held_out_digits()
    return _in_parts(functools.partial(_text_loss(config, name), params), task.pictures, task.texts)


def picture_loss(config: Config, name: str, params: Params) -> np.ndarray:
    """(m,) mean squared error of the network's target for held-out digits behind their captions, at levels that cover
    the path.
    """
    task = tasks.held_out_digits()
    index = np.arange(len(task))
    return _in_parts(functools.partial(_picture_loss(config, name), params), task.texts, task.pictures, index)


def difference(config: Config, params: Params) -> float:
    """The largest difference between logits of texts alone and those of the language model, with the same
    parameters.
    """
    texts = tasks.held_out_digits().texts[:TOGETHER]
    interleaved, plain = (networks.pure(module(config, BOTH)) for module in (documents.network, documents.language))
    logits = [np.asarray(devices.jit(predict)(params, texts).logits) for predict in (interleaved, plain)]
    return float(np.max(np.abs(logits[0] - logits[1])))


def _in_parts(function: Callable[..., Any], *rows: np.ndarray) -> np.ndarray:
    """The function of rows, so many in one call; the last call is filled up, so that one program serves all."""
    results = []
    for at in range(0, len(rows[0]), TOGETHER):
        part = [each[at : at + TOGETHER] for each in rows]
        filled = [np.concatenate([each, np.repeat(each[-1:], TOGETHER - len(each), 0)]) for each in part]
        results.append(np.asarray(function(*filled))[: len(part[0])])
    return np.concatenate(results)


@functools.lru_cache(maxsize=4)
def _draw(config: Config) -> Any:
    model, levels = documents.model(config, BOTH), diffusion.grids.trailing(documents.SCHEDULE, config.sampling_steps)
    shape = tasks.known_digits().pictures.shape[1:]

    def draw(params: Params, key: jax.Array, texts: jax.Array, index: jax.Array) -> jax.Array:
        return model.image_from_text(key, params, texts, config.guidance, levels, shape, index)

    return devices.jit(draw, libraries=False)


@functools.lru_cache(maxsize=4)
def _write(config: Config) -> Any:
    model, likeliest = documents.model(config, BOTH), processors.temperature(0.0)
    length = tasks.known_digits().texts.shape[1]

    def write(params: Params, pictures: jax.Array) -> jax.Array:
        count = pictures.shape[0]
        prefix, index = jnp.full((count, 1), tasks.BEGIN, jnp.int32), jnp.arange(count)
        options: dict[str, Any] = {"max_tokens": length - 1, "processor": likeliest, "stop": (tasks.END,)}
        return model.text_from_image(jax.random.key(0), params, pictures, prefix, index, **options).tokens

    return devices.jit(write, libraries=False)


@functools.lru_cache(maxsize=4)
def _weigh(config: Config, name: str) -> Any:
    return devices.jit(documents.model(config, name).log_likelihood, libraries=False)


@functools.lru_cache(maxsize=4)
def _text_loss(config: Config, name: str) -> Any:
    predict, clean = networks.pure(documents.network(config, name)), documents.SCHEDULE.clean

    def loss(params: Params, pictures: jax.Array, texts: jax.Array) -> jax.Array:
        picture = networks.Picture(documents.FORM.scale_in(pictures, clean), clean.t_for(pictures))
        logits = jax.nn.log_softmax(predict(params, (picture, texts)).outputs[1][:, :-1])
        target = texts[:, 1:]
        log_probs = jnp.take_along_axis(logits, jnp.maximum(target, 0)[..., None], 2)[..., 0]
        return -jnp.sum(jnp.where(target >= 0, log_probs, 0), 1) / jnp.sum(target >= 0, 1)

    return devices.jit(loss, libraries=False)


@functools.lru_cache(maxsize=4)
def _picture_loss(config: Config, name: str) -> Any:
    predict, schedule, form = networks.pure(documents.network(config, name)), documents.SCHEDULE, documents.FORM

    def loss(params: Params, texts: jax.Array, pictures: jax.Array, index: jax.Array) -> jax.Array:
        level = schedule.at((index % 50 + 0.5) / 50)
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(DRAWING + 1), index)
        noise = jax.vmap(lambda key: jax.random.normal(key, pictures.shape[1:]))(keys)
        x = process.add_noise(pictures, noise, level)
        output = predict(params, (texts, networks.Picture(form.scale_in(x, level), level.t_for(x)))).outputs[1]
        return jnp.mean(jnp.square(output - form.target(pictures, noise, level)), (1, 2, 3))

    return devices.jit(loss, libraries=False)


def _equal(texts: list[str], others: list[str]) -> np.ndarray:
    return np.array([text == other for text, other in zip(texts, others, strict=True)])
