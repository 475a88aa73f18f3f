"""The sizes in which FLUX.1 Kontext and FLUX.2 read pictures beside their prompt."""

from types import SimpleNamespace
from unittest import mock

from gendiff.pipelines.stable_diffusion import Opened, model_index, reference_size
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
