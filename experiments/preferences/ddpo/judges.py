"""Who says what pictures show: a classifier that is the reward of digits, and judges that took no part in any
reward.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion import scenes
from experiments.tasks import rendering, shapes
from gendiff.data import digits
from gendiff.metrics import classifier_accuracy, features
from gendiff.metrics.classifier_accuracy import Judge

QUARTER = 16
"""Pixels of a side of a quarter of a scene."""
EMPTY = len(shapes.COLOURS) * len(shapes.SHAPES)
"""The class of a quarter without an object; the others are colour · shapes + shape."""
STREAM = 7
"""Of the scenes that the judge of scenes learns from."""
NOISE = 0.05
"""Standard deviation of noise on them."""
PUSHES, PUSH = 60, 0.1
"""Steps by which pictures are pushed up the reward's gradient, and the length of each per pixel, root mean square."""


@functools.cache
def split() -> digits.Split:
    """The real digits."""
    return digits.load()


@functools.cache
def classifier() -> tuple[np.ndarray, np.ndarray]:
    """Weights (64, 10) and biases (10,) of a logistic regression on one half of the training digits: the reward."""
    from sklearn.linear_model import LogisticRegression

    rows, _ = halves()
    digits_split = split()
    fitted = LogisticRegression(C=0.1, max_iter=5000).fit(
        features.pixels(digits_split.train_images[rows]), digits_split.train_labels[rows]
    )
    return fitted.coef_.T.astype(np.float32), fitted.intercept_.astype(np.float32)


@functools.cache
def judge_of_digits() -> Judge:
    """A support vector machine on the other half."""
    _, rows = halves()
    return classifier_accuracy.train(split().train_images[rows], split().train_labels[rows])


@functools.cache
def judge_of_scenes(count: int) -> Judge:
    """A support vector machine that tells colour and shape of a quarter, from rendered scenes without any model."""
    scenes_drawn = shapes.draw(shapes.Recipe(objects=(1, 3)), STREAM, np.arange(count))
    images = rendering.render(scenes_drawn, scenes.SIDE)
    noisy = images + NOISE * np.random.default_rng(STREAM).standard_normal(images.shape).astype(np.float32)
    truth = expected(scenes_drawn.attributes)
    return classifier_accuracy.train(quarters(noisy).reshape(-1, QUARTER, QUARTER, 3), truth.reshape(-1))


def halves() -> tuple[np.ndarray, np.ndarray]:
    """The rows of the training digits in two halves."""
    order = np.random.default_rng(0).permutation(len(split().train_images))
    return order[: len(order) // 2], order[len(order) // 2 :]


def log_probabilities(images: jax.Array) -> jax.Array:
    """(b, 10) of pictures (b, 8, 8, 1), which need not be rounded."""
    weights, bias = classifier()
    flat = jnp.asarray(images).reshape(images.shape[0], -1)
    return jax.nn.log_softmax(jnp.matmul(flat, weights, precision="highest") + bias[None], axis=1)


def quarters(images: np.ndarray) -> np.ndarray:
    """(n, 4, 16, 16, 3) the quarters of scenes (n, 32, 32, 3), in the order of positions."""
    parts = [
        images[:, down : down + QUARTER, right : right + QUARTER] for down in (0, QUARTER) for right in (0, QUARTER)
    ]
    return np.stack(parts, axis=1)


def expected(attributes: np.ndarray) -> np.ndarray:
    """(n, 4) the class of each quarter of scenes (n, 3, 4)."""
    classes = np.full((len(attributes), 4), EMPTY, np.int64)
    for slot in range(attributes.shape[1]):
        colour, shape, _, position = attributes[:, slot].T
        rows = np.flatnonzero(position >= 0)
        classes[rows, position[rows]] = colour[rows] * len(shapes.SHAPES) + shape[rows]
    return classes


def seen_in_scenes(judge: Judge, images: np.ndarray, attributes: np.ndarray) -> np.ndarray:
    """(n,) whether all four quarters show the colours and shapes of asked (n, 3, 4)."""
    clipped = np.clip(images, -1.0, 1.0)
    readings = classifier_accuracy.predict(judge, quarters(clipped).reshape(-1, QUARTER, QUARTER, 3)).reshape(-1, 4)
    return np.all(readings == expected(attributes), axis=1)


def pushed(digit: int) -> np.ndarray:
    """Held-out pictures of other digits, pushed up the gradient of the reward until the classifier sees the digit in
    each.

    Nothing but the reward is followed, so a judge must not agree: they still show what they showed.
    """
    digits_split = split()
    images = jnp.asarray(digits_split.held_out_images[digits_split.held_out_labels != digit])

    def push(x: jax.Array) -> jax.Array:
        slope = jax.grad(lambda x: jnp.sum(log_probabilities(x)[:, digit]))(x)
        length = jnp.sqrt(jnp.mean(slope**2, axis=(1, 2, 3), keepdims=True))
        moved = jnp.clip(x + PUSH * slope / jnp.maximum(length, 1e-12), -1.0, 1.0)
        there = jnp.argmax(log_probabilities(x), axis=1) == digit
        return jnp.where(there[:, None, None, None], x, moved)

    return np.asarray(jax.lax.fori_loop(0, PUSHES, lambda _, x: push(x), images))
