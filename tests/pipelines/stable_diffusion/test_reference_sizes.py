"""Which pictures FLUX.1 Kontext and FLUX.2 read beside their prompt, and in which sizes."""

from types import SimpleNamespace
from unittest import mock

import numpy as np

from gendiff.pipelines.stable_diffusion import Opened, edit, model_index, reference_size, with_painted
from tests.tables import table


def model(kind, side=1024, multiple=16):
    return mock.Mock(Opened, size=(side, side), multiple=multiple, index=SimpleNamespace(kind=kind))


@table(
    ("picture", "side", "expected"),
    [
        ((1024, 1024), 1024, (1024, 1024)),
        ((300, 300), 1024, (1024, 1024)),
        ((1080, 1920), 1024, (752, 1392)),
        ((3000, 2000), 1024, (1248, 832)),
        ((10, 400), 1024, (672, 1568)),
        ((400, 10), 1024, (1568, 672)),
        ((500, 1200), 512, (336, 784)),
    ],
)
def test_kontext_reads_the_size_of_its_training_whose_sides_are_most_alike(picture, side, expected):
    assert reference_size(model(model_index.KONTEXT, side), *picture) == expected


@table(
    ("picture", "expected"),
    [
        ((512, 768), (512, 768)),
        ((1030, 500), (1024, 496)),
        ((2048, 2048), (1024, 1024)),
        ((1024, 4096), (512, 2048)),
        ((7, 40), (16, 32)),
    ],
)
def test_flux_2_reads_pictures_as_they_are_but_no_larger_than_its_training(picture, expected):
    assert reference_size(model(model_index.FLUX_2), *picture) == expected


def test_a_picture_painted_into_as_diffusers_does_is_read_before_references():
    picture, one, two = (np.full((1, 4, 4, 3), value, np.float32) for value in (0.0, 0.5, 1.0))
    mask = np.ones((1, 4, 4, 1), np.float32)
    painted = edit(picture, mask, like_diffusers=True)
    for kind, references, expected in (
        (model_index.FLUX_2, (), (picture,)),
        (model_index.FLUX_2, (one, two), (picture, one, two)),
        (model_index.KONTEXT, (), (picture,)),
        (model_index.KONTEXT, (one,), (one,)),
        (model_index.FLUX, (), ()),
    ):
        assert list(map(id, with_painted(model(kind), painted, references))) == list(map(id, expected))
    for change in (None, edit(picture, mask), edit(picture, like_diffusers=True)):
        assert with_painted(model(model_index.FLUX_2), change) == ()
