"""Conditions are recognised by their type, and what does not fit the network is refused."""

import functools

import jax
import numpy as np
import pytest

import gendiff as gd
from gendiff import networks
from gendiff.core import records, trees
from gendiff.networks import embeddings
from tests.networks.rig import (
    LABEL,
    MASK,
    READERS,
    SIZE,
    TEXT,
    T,
    X,
    cross,
    dit,
    drawn_reader,
    joint,
    lowered,
    random_params,
    reading_unet,
    unet,
)
from tests.refusals import refusals
from tests.tables import table

B = 3


@functools.cache
def told_of_labels(network):
    return random_params(network, X, T, LABEL)


def test_labels_have_their_rows_no_label_has_the_last_and_what_is_none_is_not_a_number():
    """Under jit nothing can be refused, and the number behind the last class is no name for the row of no label."""
    table = np.arange(8.0, dtype=np.float32).reshape(4, 2)
    rows = jax.jit(embeddings.rows)(table, np.array([0, 2, gd.NO_LABEL, 3, 4, -5], np.int32))
    np.testing.assert_array_equal(rows, [*table[[0, 2, 3]], *[[np.nan] * 2] * 3])


@table("build", READERS)
def test_conditions_come_in_any_order(build):
    values = {"label": LABEL, "text": TEXT, "size": SIZE}

    def program(*names):
        def run(params, values):
            return networks.pure(build())(params, X, T, *(values[name] for name in names))

        return str(jax.make_jaxpr(run)(drawn_reader(build()), values))

    assert program("label", "text", "size") == program("size", "text", "label")


@table("build", [dit, unet])
def test_a_network_that_is_told_of_labels_alone_has_no_parameter_of_anything_else(build):
    paths = trees.paths(told_of_labels(build()))
    assert not [path for path in paths if "text" in path or "cross" in path or "stream" in path or "added" in path]
    assert lowered(build(), told_of_labels(build())) == lowered(build(null_text=False), told_of_labels(build()))


def test_a_pooled_text_is_ignored_by_a_network_that_has_no_use_for_it():
    network = cross(pooled_channels=None, image_size=False, num_classes=None)
    params = random_params(network, X, T, TEXT)
    assert not [path for path in trees.paths(params) if "added" in path or "pooled" in path]


def call(build, *condition, **changes):
    return lambda: networks.pure(build(**changes))(drawn_reader(build()), X, T, *condition)


def text(**changes):
    return records.replace(TEXT, **changes)


def size(**changes):
    return records.replace(SIZE, **changes)


def scale(value):
    return networks.GuidanceScale(value)


SCALE = scale(np.array([1.0, 3.5, 7.0], np.float32))
second = networks.EndTime
SECOND = second(np.array([0.0, 500.0, 999.0], np.float32))


test_conditions_that_do_not_fit_are_refused = pytest.mark.fault("conditions: one that does not fit the network")(
    refusals(
        (call(cross, LABEL, SIZE), "reads texts of 6 channels and needs one"),
        (call(joint, LABEL, TEXT), "needs the size of the image"),
        (call(reading_unet, TEXT, SIZE), "has 10 classes and needs a label"),
        (call(cross, LABEL, TEXT, TEXT, SIZE), "two conditions are each a text"),
        (call(cross, LABEL, SIZE, TEXT.tokens), r"shape \(3, 4, 6\).*networks.Text"),
        (call(cross, LABEL, SIZE, {"tokens": TEXT.tokens}), "got dict", TypeError),
        (call(cross, SIZE, networks.NO_TEXT), "NO_TEXT takes the place of a Text", TypeError),
        (call(cross, LABEL, SIZE, text(tokens=np.ones((B, 4, 6), int))), "tokens must be floating", TypeError),
        (
            call(cross, LABEL, SIZE, text(tokens=TEXT.tokens[..., :5])),
            r"\(samples, tokens, text_channels\) = \(3, 1 or more, 6\)",
        ),
        (call(cross, LABEL, SIZE, text(tokens=TEXT.tokens[:1])), r"\(1, 4, 6\)"),
        (call(cross, LABEL, SIZE, text(tokens=TEXT.tokens[:, :0], mask=MASK[:, :0])), "1 or more"),
        (call(cross, LABEL, SIZE, text(mask=MASK.astype(int))), "mask must hold booleans", TypeError),
        (call(cross, LABEL, SIZE, text(mask=MASK[:, :3])), r"mask has shape \(3, 3\)"),
        (call(cross, LABEL, SIZE, text(pooled=None)), "pooled_channels = 5, and the text no pooled encoding"),
        (call(cross, LABEL, SIZE, text(pooled=TEXT.pooled[:, :4])), r"\(samples, pooled_channels\) = \(3, 5\)"),
        (call(cross, LABEL, TEXT, size(crop=SIZE.crop[:, 0])), r"crop has shape \(3,\)"),
        (call(cross, LABEL, TEXT, size(original=-SIZE.original)), "original"),
        (call(cross, LABEL, TEXT, size(target=None)), "has no target, which a network with image_size = True needs"),
        (
            call(cross, LABEL, TEXT, SIZE, image_size="score"),
            "has no score, which a network with image_size = .score. needs",
        ),
        (call(cross, LABEL, TEXT, size(score=np.ones((B, 1))), image_size="score"), r"score has shape \(3, 1\)"),
        (call(cross, LABEL, TEXT, SIZE, image_size="scores"), "image_size = .scores. is none of score"),
        (
            lambda: networks.pure(dit())(told_of_labels(dit()), X, T, LABEL, TEXT),
            "a text was given to a network without",
        ),
        (
            lambda: networks.pure(unet())(told_of_labels(unet()), X, T, LABEL, SIZE),
            "a size of the image was given to a network without",
        ),
        (
            call(cross, LABEL, TEXT, SIZE, SCALE),
            "a guidance scale was given to a network without: build it with guidance=True",
        ),
        (call(reading_unet, LABEL, TEXT, SIZE, SCALE), "a guidance scale was given to a network without"),
        (call(cross, LABEL, TEXT, SIZE, guidance=True), "is told the guidance scale: pass networks.GuidanceScale"),
        (call(cross, LABEL, TEXT, SIZE, SCALE, SCALE, guidance=True), "two conditions are each a guidance scale"),
        (call(cross, LABEL, TEXT, SIZE, scale(np.ones((B, 1))), guidance=True), r"scale has shape \(3, 1\)"),
        (call(cross, LABEL, TEXT, SIZE, scale(-1.0), guidance=True), "scale = -1 is outside"),
        (call(cross, LABEL, TEXT, SIZE, scale(np.ones(B, bool)), guidance=True), "scale must hold numbers", TypeError),
        (
            call(cross, LABEL, TEXT, SIZE, SECOND),
            "a second time was given to a network without: build it with second_time=True",
        ),
        (call(reading_unet, LABEL, TEXT, SIZE, second_time=True), "is told a second time: pass networks.EndTime"),
        (call(cross, LABEL, TEXT, SIZE, SECOND, SECOND, second_time=True), "two conditions are each a second time"),
        (call(cross, LABEL, TEXT, SIZE, second(np.ones((B, 1))), second_time=True), r"second time has shape \(3, 1\)"),
        (call(cross, LABEL, TEXT, SIZE, second(np.nan), second_time=True), "second time is not finite"),
        (
            call(cross, LABEL, TEXT, SIZE, second(np.ones(B, bool)), second_time=True),
            "second time must hold numbers",
            TypeError,
        ),
        (call(cross, LABEL, TEXT, SIZE, text_channels=0), "text_channels = 0"),
        (call(cross, LABEL, SIZE, text_channels=None), "pooled_channels = 5 is of a text"),
        (call(cross, LABEL, TEXT, SIZE, text_attention="both"), "cross, joint"),
        (
            call(reading_unet, LABEL, TEXT, SIZE, attention=(16,), middle_attention=False),
            "no layer would read the text",
        ),
    )
)
