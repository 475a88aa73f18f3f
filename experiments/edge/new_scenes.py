"""Scenes: the committed network of text-to-image before captions with counts and relations that it never read."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from experiments.diffusion import encoded_captions, scenes
from experiments.diffusion.image_draws import Draws
from experiments.edge.config import Config
from experiments.tasks import captions, shapes, shapes_oracle
from gendiff.commands.text_to_image import published
from gendiff.commands.trained_networks import FOLDER
from gendiff.diffusion import samplers
from gendiff.networks import NO_TEXT
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import intervals
from gendiff.runs.study import Measured

SEEN, UNSEEN, UNPLACED = "seen pairs", "pairs never seen", "no places named"
RELATION, THREE, OTHERS = "a relation", "three objects", "captions of others"
SETS = (SEEN, UNSEEN, UNPLACED, RELATION, THREE)
STREAM = 3
"""Of scenes that are asked for here, apart from those of training."""
SHOWN = 8


@dataclasses.dataclass(frozen=True)
class Requests:
    """Captions, and the scenes (n, 3, 4) that they ask for; a place that is not named counts for nothing."""

    captions: tuple[str, ...]
    attributes: np.ndarray


def requests(name: str, count: int) -> Requests:
    """What is asked for in a set."""
    objects = {SEEN: (1, 2), UNSEEN: (1, 2), THREE: (3, 3)}.get(name, (2, 2))
    recipe = dataclasses.replace(scenes.RECIPE, objects=objects)
    drawn_scenes = shapes.draw(recipe, STREAM, np.arange(count), unseen=name == UNSEEN).attributes.copy()
    if name in (SEEN, UNSEEN):
        return Requests(tuple(captions.write(drawn_scenes)), drawn_scenes)
    drawn_scenes[..., 3] = shapes.ABSENT
    phrases = [[captions.phrase(each) for each in scene if each[0] >= 0] for scene in drawn_scenes]
    if name == RELATION:
        return Requests(tuple(" to the left of ".join(each) for each in phrases), drawn_scenes)
    return Requests(tuple(" and ".join([", ".join(each[:-1]), each[-1]]) for each in phrases), drawn_scenes)


def right(name: str, readings: np.ndarray, attributes: np.ndarray) -> np.ndarray:
    """(n,) whether pictures show what was asked for: these objects and no other, where places are named in these, and
    where a relation is, so related.
    """
    return np.array([_right(name, *pair) for pair in zip(readings, attributes, strict=True)])


def _right(name: str, read: np.ndarray, scene: np.ndarray) -> bool:
    columns = 4 if name in (SEEN, UNSEEN) else 3
    if (read < shapes.ABSENT).any() or sorted(read[:, :columns].tolist()) != sorted(scene[:, :columns].tolist()):
        return False
    if name != RELATION:
        return True
    first, second = (read[:2][order] for order in (0, 1))
    if not np.array_equal(first[:3], scene[0, :3]):
        first, second = second, first
    return bool(first[3] % 2 < second[3] % 2)


def measure(config: Config, progress: Progress) -> Iterator[Measured]:
    """Of every set the share of pictures that show what was asked for."""
    trained = published.read(FOLDER / f"shapes{published.SUFFIX}")[0]
    draws = Draws(trained.model, config.sampling_steps, config.together, progress, samplers.unipc(2), absent=NO_TEXT)
    for distance, name in enumerate(SETS):
        asked_scenes = requests(name, config.prompts)
        with progress.phase("scenes"):
            condition = encoded_captions.frozen(asked_scenes.captions, Progress(quiet=True)).rows(
                np.arange(config.prompts)
            )
            images = draws(name, trained.params["network"], config.prompts, scale=config.scale, condition=condition)
        readings = shapes_oracle.read(images)
        results = right(name, readings, asked_scenes.attributes)
        counted = (readings[..., 0] >= 0).sum(1) == (asked_scenes.attributes[..., 0] >= 0).sum(1)
        arrays = {"at": ("scenes", "network", distance), "images": images[:SHOWN], "captions": asked_scenes.captions}
        measures = {"right": intervals.share(results), "counted": intervals.share(counted)}
        yield Measured(f"scenes: {name}", measures, None, config.prompts, "scenes", arrays)
        if name == SEEN:
            others = right(name, readings, np.roll(asked_scenes.attributes, 1, axis=0))
            yield Measured(f"scenes: {OTHERS}", {"right": intervals.share(others)}, None, config.prompts, "scenes")
