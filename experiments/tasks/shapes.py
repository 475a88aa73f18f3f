"""Scenes of one to three coloured shapes: which attributes there are, which scenes a recipe allows, and scene number
`index` of a seed.

A scene is resolution-free. Each object lies wholly inside its own quarter of the image, so objects never overlap.
`rendering` draws scenes, `captions` writes and parses them, `shapes_oracle` reads them back from pixels.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Int, Int32

from gendiff.core import checks, records
from gendiff.core.types import NO_LABEL

ATTRIBUTES = ("colour", "shape", "size", "position")
"""What the last axis of an attribute array holds, in order."""
COLOURS = ("red", "green", "blue", "yellow", "magenta", "cyan", "white", "orange")
SHAPES = ("circle", "square", "triangle", "cross")
SIZES = ("small", "large")
POSITIONS = ("top left", "top right", "bottom left", "bottom right")
VOCABULARY = dict(zip(ATTRIBUTES, (COLOURS, SHAPES, SIZES, POSITIONS), strict=True))
"""Value k of an attribute is entry k of its tuple; no word belongs to two attributes."""
RADII = (0.12, 0.185)
"""Half the bounding box of a small and a large object, in image sides."""
MARGIN = 0.03
"""Least distance, in image sides, between an object and the edge of its quarter: half a pixel of the smallest image."""
MOST_OBJECTS = 3
ABSENT = -1
"""All four attributes of an object that is not there."""
UNIFORMS = 15


@records.record
class Scenes:
    """Scenes as numbers.

    Args:
        attributes: (b, 3, 4) int32, objects in the order of their positions, ABSENT ones last.
        centres: (b, 3, 2) float64, the middle of each bounding box as (down, right) in image sides, NaN where absent.
    """

    attributes: np.ndarray
    centres: np.ndarray

    def __len__(self) -> int:
        return len(self.attributes)


@records.record
class Recipe:
    """Which scenes there are. Names come from VOCABULARY; the default holds them all.

    Args:
        objects: the fewest and the most in a scene, within 1…3; each number is equally likely.
        colours: names.
        shapes: names.
        sizes: names.
        positions: names.
        held_out: combinations that no scene shows unless asked for by `unseen`; each is a tuple of names of different
            attributes, as in ("red", "circle") or ("blue", "large", "top left").
        classes_by: the attributes that tell classes of one-object scenes apart.

    Raises:
        ValueError: for an unknown or repeated name, for more objects than positions, and for `held_out` that leaves too
            few scenes.
    """

    objects: tuple[int, int] = records.static(default=(1, MOST_OBJECTS))
    colours: tuple[str, ...] = records.static(default=COLOURS)
    shapes: tuple[str, ...] = records.static(default=SHAPES)
    sizes: tuple[str, ...] = records.static(default=SIZES)
    positions: tuple[str, ...] = records.static(default=POSITIONS)
    held_out: tuple[tuple[str, ...], ...] = records.static(default=())
    classes_by: tuple[str, ...] = records.static(default=ATTRIBUTES)

    def __post_init__(self) -> None:
        for attribute, chosen in zip(ATTRIBUTES, self._chosen(), strict=True):
            _check_names(f"{attribute}s", chosen, VOCABULARY[attribute])
        _check_names("classes_by", self.classes_by, ATTRIBUTES)
        fewest, most = self.objects
        checks.integer("objects[0]", fewest, 1, MOST_OBJECTS)
        checks.integer("objects[1]", most, fewest, MOST_OBJECTS)
        for combination in self.held_out:
            _check_combination(combination)
        places = np.unique(_combinations(self, unseen=False)[:, 3]).size
        if places < most:
            raise ValueError(
                f"held_out = {self.held_out} and positions = {self.positions} leave {places} positions for up to "
                f"{most} objects; hold out fewer combinations or lower objects"
            )

    @property
    def num_classes(self) -> int:
        """How many classes `labels` tells apart; held-out ones count, so that a class means the same in training and in
        a test.
        """
        return int(np.prod([len(chosen) for chosen in _class_values(self).values()]))

    def _chosen(self) -> tuple[tuple[str, ...], ...]:
        return self.colours, self.shapes, self.sizes, self.positions


def draw(recipe: Recipe, seed: int, index: Int[np.ndarray, "b"], *, unseen: bool = False) -> Scenes:
    """Draw scenes: each is a function of (recipe, seed, its own index, unseen).

    Positions are drawn first, without replacement, then colour, shape and size together, uniformly over what the recipe
    allows there, and the centre uniformly over its quarter less the object's radius and MARGIN.

    Args:
        recipe: which scenes there are.
        seed: the stream, 0 … 2³² - 1.
        index: (b,) the numbers 0, 1, … of the scenes in that stream.
        unseen: False never shows a held-out combination. True shows one or more in exactly one object of each scene,
            and is another stream of random numbers.

    Raises:
        ValueError: for unseen=True of a recipe that holds nothing out, and for numbers outside their ranges.
    """
    checks.integer("seed", seed, 0, 2**32 - 1)
    if len(index) and index.min() < 0:
        raise ValueError(f"index holds {index.min()}; scenes are numbered 0, 1, …")
    if unseen and not recipe.held_out:
        raise ValueError("unseen=True needs a recipe with held_out combinations")
    uniform = np.array([np.random.default_rng((int(seed), int(unseen), int(i))).random(UNIFORMS) for i in index])
    uniform = uniform.reshape(len(index), UNIFORMS)
    fewest, most = recipe.objects
    count = fewest + np.floor(uniform[:, 0] * (most - fewest + 1)).astype(np.int32)
    combinations = _by_position(_combinations(recipe, unseen=False))
    special = _by_position(_combinations(recipe, unseen=True))
    positions = _places(uniform[:, 1:5], combinations, special if unseen else None)

    attributes = np.full((len(index), MOST_OBJECTS, 4), ABSENT, dtype=np.int32)
    for slot in range(MOST_OBJECTS):
        tables = special if unseen and slot == 0 else combinations
        for position in range(len(POSITIONS)):
            rows = np.flatnonzero((positions[:, slot] == position) & (slot < count))
            table = tables[position]
            attributes[rows, slot] = table[np.floor(uniform[rows, 5 + slot] * len(table)).astype(np.int64)]
    centres = _centres(attributes, uniform[:, 8:14].reshape(-1, MOST_OBJECTS, 2))
    order = np.argsort(np.where(attributes[:, :, 3] == ABSENT, len(POSITIONS), attributes[:, :, 3]), axis=1)
    return Scenes(
        np.take_along_axis(attributes, order[:, :, None], 1), np.take_along_axis(centres, order[:, :, None], 1)
    )


def labels(recipe: Recipe, attributes: Int[np.ndarray, "b 3 4"]) -> Int32[np.ndarray, "b"]:
    """Find the class 0…num_classes-1 of each one-object scene.

    It is a number with one digit for each attribute of `recipe.classes_by`, last fastest. It is NO_LABEL for a scene of
    any other number of objects, for one that the oracle found unclear, and for values outside the recipe's lists. So
    `labels(recipe, shapes_oracle.read(images)) == wanted` is exact adherence to a class.
    """
    single = (attributes[:, 0, 0] >= 0) & np.all(attributes[:, 1:] < 0, axis=(1, 2))
    label, known = np.zeros(len(attributes), dtype=np.int64), single
    for column, values in _class_values(recipe).items():
        digit = np.argmax(attributes[:, 0, column, None] == values, axis=1)
        known = known & (values[digit] == attributes[:, 0, column])
        label = label * len(values) + digit
    return np.where(known, label, NO_LABEL).astype(np.int32)


def class_attributes(recipe: Recipe, label: Int[np.ndarray, "b"]) -> Int32[np.ndarray, "b 4"]:
    """Find the attributes that a class fixes, ABSENT for those outside `recipe.classes_by`: the inverse of `labels`.

    Raises:
        ValueError: for a label outside 0…num_classes-1.
    """
    if len(label) and (label.min() < 0 or label.max() >= recipe.num_classes):
        raise ValueError(f"labels lie in {label.min()}…{label.max()}, but there are classes 0…{recipe.num_classes - 1}")
    attributes = np.full((len(label), 4), ABSENT, dtype=np.int32)
    rest = label
    for column, values in reversed(_class_values(recipe).items()):
        rest, digit = np.divmod(rest, len(values))
        attributes[:, column] = values[digit]
    return attributes


def corner(position: Int[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n 2"]:
    """The top left corner of the quarter of the image that a position names, as (down, right) in image sides."""
    return np.stack([position // 2, position % 2], -1) / 2.0


def _class_values(recipe: Recipe) -> dict[int, np.ndarray]:
    chosen = dict(zip(ATTRIBUTES, recipe._chosen(), strict=True))
    return {
        ATTRIBUTES.index(name): np.array([VOCABULARY[name].index(value) for value in chosen[name]], dtype=np.int32)
        for name in recipe.classes_by
    }


def _combinations(recipe: Recipe, *, unseen: bool) -> np.ndarray:
    """(k, 4) attributes of every single object that the recipe shows (unseen=False) or holds out."""
    lists = [
        [VOCABULARY[name].index(v) for v in chosen] for name, chosen in zip(ATTRIBUTES, recipe._chosen(), strict=True)
    ]
    table = np.stack(np.meshgrid(*lists, indexing="ij"), -1).reshape(-1, 4)
    out = np.zeros(len(table), dtype=bool)
    for combination in recipe.held_out:
        out |= np.all([table[:, column] == value for column, value in _places_in_vocabulary(combination)], axis=0)
    return table[out == unseen]


def _by_position(table: np.ndarray) -> list[np.ndarray]:
    return [table[table[:, 3] == position] for position in range(len(POSITIONS))]


def _places(uniform: np.ndarray, combinations: list[np.ndarray], special: list[np.ndarray] | None) -> np.ndarray:
    """(b, 4) positions in the order in which a scene fills them; the first holds the held-out combination, if there is
    to be one.
    """
    closed = np.array([not len(table) for table in combinations])
    # closed positions come last, and the recipe has made sure that none of them is needed
    rank = uniform + 2.0 * closed
    if special is not None:
        first = np.argmin(uniform + 2.0 * np.array([not len(table) for table in special]), axis=1)
        rank[np.arange(len(rank)), first] = -1.0
    return np.argsort(rank, axis=1)


def _centres(attributes: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    low = (MARGIN + np.array(RADII))[attributes[:, :, 2], None]
    centres = corner(attributes[:, :, 3]) + low + uniform * (0.5 - 2 * low)
    return np.where(attributes[:, :, 3, None] == ABSENT, np.nan, centres)


def _places_in_vocabulary(combination: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    for name in combination:
        yield from ((column, values.index(name)) for column, values in enumerate(VOCABULARY.values()) if name in values)


def _check_names(name: str, chosen: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    for value in chosen:
        checks.choice(name, value, allowed)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"{name} = {chosen} must hold at least one name and none twice")


def _check_combination(combination: tuple[str, ...]) -> None:
    for name in combination:
        checks.choice("held_out", name, [value for values in VOCABULARY.values() for value in values])
    columns = [column for column, _ in _places_in_vocabulary(combination)]
    if not columns or len(set(columns)) < len(columns):
        raise ValueError(f"held_out has {combination}; a combination is a tuple of names, at most one an attribute")
