"""Networks of pictures by name: what each builds, and what is said of a size that does not suit."""

from gendiff.commands.train import named_networks
from tests.tables import table


@table(("shape", "levels"), [((8, 8, 3), 1), ((32, 32, 3), 3), ((64, 64, 3), 4), ((48, 64, 1), 4), ((50, 50, 3), 2)])
def test_a_unet_halves_the_picture_until_8_pixels(shape, levels):
    assert len(named_networks.build("unet-small", shape, 0).channels) == levels


def test_a_side_that_cannot_be_halved_is_told_with_one_that_can():
    sentence = "17 × 17 pixels cannot be halved: the network has 1 level, and --size 16 would have 2"
    assert named_networks.remark("unet-small", (17, 17, 3)) == sentence
    assert "25 × 25 pixels" in named_networks.remark("unet-small", (50, 50, 3))
    assert [named_networks.remark("unet-small", (side, side, 3)) for side in (7, 8, 16, 28, 32, 64)] == [""] * 6
    assert named_networks.remark("dit-tiny/1", (17, 17, 3)) == ""


def test_every_name_of_a_network_builds_one():
    assert {"unet-small", "unet-base", "dit-s/2", "dit-xl/8", "lightning-dit-s/2"} <= set(named_networks.NAMES)
    assert {named_networks.build(name, (64, 64, 3), 2).num_classes for name in named_networks.NAMES} == {2}
