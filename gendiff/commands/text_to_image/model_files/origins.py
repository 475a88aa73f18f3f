"""What each network of text-to-image has learned from: its data, their licence, and the words of its captions."""

from gendiff.commands.text_to_image import networks, scenes, texts
from gendiff.commands.text_to_image.config import Config
from gendiff.commands.text_to_image.drawings import pictures
from gendiff.commands.text_to_image.model_files.published import Origin
from gendiff.data import emoji

RENDERED = Origin(data="scenes of one or two coloured shapes, rendered by this repository, and their captions", licence="Apache-2.0")
DRAWN = Origin(data="drawings of OpenMoji, their Unicode names and CLDR's keywords", licence="CC BY-SA 4.0", attribution=emoji.ATTRIBUTION)


def origin(name: str) -> Origin:
    """Of the network of a name."""
    return DRAWN if name == networks.EMOJI else RENDERED


def words(config: Config, name: str) -> frozenset[str]:
    """The words of its training captions. Those of drawings need the packages that bring them."""
    if name != networks.EMOJI:
        return scenes.words()
    training, _ = pictures.load(config.drawings)
    captions = pictures.written(training, config.drawings.keywords)
    return frozenset(word for caption in captions for word in texts.words(caption))
