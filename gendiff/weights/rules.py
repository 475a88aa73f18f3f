"""Rules from foreign names to our paths, applied to all parameters of a network at once, in both directions.

The network's own tree leads: every path of ours must have one rule, every name that a rule asks for must be there, and
no foreign array may be left over. So a conversion that returns has used everything once.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import trees
from gendiff.core.errors import CheckpointMismatchError
from gendiff.core.renamed import renamed_keywords
from gendiff.core.types import ArrayLike, Config, DType, Params, PyTree
from gendiff.weights import layouts
from gendiff.weights.quantised.gguf import Packed
from gendiff.weights.streamed import StoredArray

COPY = "{copy}"
SHOWN = 6

ForeignArray = ArrayLike | StoredArray | Packed
Arrays = Mapping[str, ForeignArray]
Shape = ArrayLike | jax.ShapeDtypeStruct
"""What has the shape and dtype of a parameter."""
Maker = Callable[[str, "Rule", list[ForeignArray], Shape, Callable[[DType], jax.Array]], PyTree]
"""(our path, its rule, their arrays, its entry of `like`, a reader by dtype) -> the parameter."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """One kind of parameter.

    Args:
        ours: a path as in "down_0_{block}/convolution_0/kernel"; a word in braces stands for a whole number.
        theirs: the name with the same words in braces; several names are joined along our last axis.
        layout: the order of axes, there and here; a tuple has one for each name.
        copies: how many equal copies they keep of what is one parameter here; their name then holds {copy}, which
            counts from 0.
        shares: of our last axis, one whole number for each name, as (9, 3, 3) for heads of queries, keys and
            values. Empty: equal shares.

    Raises:
        ValueError: for another number of layouts or shares than of names, and a share below 1.
    """

    ours: str
    theirs: tuple[str, ...]
    layout: layouts.Layout | tuple[layouts.Layout, ...] = layouts.SAME
    copies: int = 1
    shares: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("layout", "shares"):
            value = getattr(self, name)
            if isinstance(value, tuple) and value != () and len(value) != len(self.theirs):
                raise ValueError(
                    f"{name} = {value} has {len(value)} entries for {len(self.theirs)} names ({self.ours})"
                )
        if any(share < 1 for share in self.shares):
            raise ValueError(f"shares = {self.shares} must be at least 1 each ({self.ours})")

    def numbers(self, path: str) -> dict[str, str] | None:
        """Read what the words in braces stand for in a path of ours, or None if the rule is about another."""
        match = _pattern(self.ours).fullmatch(path)
        return None if match is None else match.groupdict()

    def names(self, numbers: Mapping[str, str]) -> list[list[str]]:
        """Return their names: the copies of each part."""
        return [[part.format(copy=copy, **numbers) for copy in range(self.copies)] for part in self.theirs]

    def joined(self, parts: list[np.ndarray]) -> np.ndarray:
        """Join our array from their parts."""
        ours = [layout.ours(part) for layout, part in zip(self.layouts_of_parts, parts, strict=True)]
        return np.concatenate(ours, -1) if len(ours) > 1 else ours[0]

    def parts(self, array: np.ndarray) -> list[np.ndarray]:
        """Split our array into their parts.

        Raises:
            ValueError: for an array that cannot be split or ordered so.
        """
        ours = np.split(array, self._ends(array.shape[-1]), -1) if len(self.theirs) > 1 else [array]
        return [layout.theirs(part) for layout, part in zip(self.layouts_of_parts, ours, strict=True)]

    @property
    def layouts_of_parts(self) -> tuple[layouts.Layout, ...]:
        """One for each name."""
        return self.layout if isinstance(self.layout, tuple) else (self.layout,) * len(self.theirs)

    def _ends(self, width: int) -> np.ndarray:
        """Where each part but the last one ends."""
        shares = np.array(self.shares or (1,) * len(self.theirs))
        if width % shares.sum():
            raise ValueError(f"a last axis of {width} has no {shares.sum()} equal shares")
        return np.cumsum(shares)[:-1] * (width // shares.sum())


def linear(
    theirs: str,
    ours: str,
    layout: layouts.Layout | tuple[layouts.Layout, ...] = layouts.LINEAR,
    *,
    bias: layouts.Layout | tuple[layouts.Layout, ...] = layouts.SAME,
    copies: int = 1,
    shares: tuple[int, ...] = (),
) -> tuple[Rule, ...]:
    """A linear layer: `weight` and `bias` there, `kernel` and `bias` here.

    Several names in `theirs`, with spaces between, are joined.
    """
    names = theirs.split()
    return (
        Rule(f"{ours}/kernel", tuple(f"{name}.weight" for name in names), layout, copies, shares),
        Rule(f"{ours}/bias", tuple(f"{name}.bias" for name in names), bias, copies, shares),
    )


def convolution(theirs: str, ours: str) -> tuple[Rule, ...]:
    """A convolution: `weight` and `bias` there, `kernel` and `bias` here."""
    return linear(theirs, ours, layouts.CONVOLUTION)


def norm(theirs: str, ours: str) -> tuple[Rule, ...]:
    """A norm: `weight` and `bias` there, `scale` and `bias` here."""
    return Rule(f"{ours}/scale", (f"{theirs}.weight",)), Rule(f"{ours}/bias", (f"{theirs}.bias",))


@renamed_keywords(made="maker")
def to_ours(arrays: Arrays, rules: Iterable[Rule], like: Params, *, maker: Maker | None = None) -> Params:
    """Turn foreign arrays into the parameters of a network of ours, in the dtype of `like`.

    Without a maker, each goes straight to the devices that the sharding of its entry names, if that is a
    ShapeDtypeStruct with one, and else to JAX's default device.

    Also known as: state-dict conversion, checkpoint conversion.

    Args:
        arrays: by their names.
        rules: one for every parameter.
        like: parameters of that network; only shapes and dtypes matter, so those of jax.eval_shape will do.
        maker: what makes each parameter, once it is known that all fit; without it their parts are joined. An array is
            read only where it is joined.

    Raises:
        CheckpointMismatchError: that names what is missing, left over, of another shape (both are shown), no floating
            number, or not equal to its copies.
    """
    expected = trees.paths(like)
    wrong: dict[str, list[str]] = {"missing": [], "left over": [], "wrong": []}
    used: set[str] = set()
    fitting = []
    for path, rule, names in matched(expected, rules):
        flat = [name for copies in names for name in copies]
        used.update(flat)
        missing = [f"{name} (for {path})" for name in flat if name not in arrays]
        mismatch = [] if missing else _mismatch(arrays, rule, names, path, expected[path])
        wrong["missing"] += missing
        wrong["wrong"] += mismatch
        if not missing and not mismatch:
            fitting.append((path, rule, [copies[0] for copies in names]))
    wrong["left over"] += sorted(set(arrays) - used)
    refuse("the weights do not fit the network", wrong)

    def joined(rule: Rule, names: list[str], dtype: DType, where: jax.sharding.Sharding | None = None) -> jax.Array:
        numbers = rule.joined([np.asarray(arrays[name]) for name in names]).astype(dtype, copy=False)
        array = jnp.asarray(numbers) if where is None else jax.device_put(numbers, where)
        jax.block_until_ready(array)  # or arrays of the file that wait for their conversion would pile up
        return array

    def parameter(path: str, rule: Rule, names: list[str]) -> PyTree:
        read, shape = functools.partial(joined, rule, names), expected[path]
        if maker is None:
            return read(shape.dtype, shape.sharding if isinstance(shape, jax.ShapeDtypeStruct) else None)
        return maker(path, rule, [arrays[each] for each in names], shape, read)

    return jax.tree.unflatten(jax.tree.structure(like), [parameter(*each) for each in fitting])


@dataclasses.dataclass(frozen=True)
class Conversion:
    """The way from a model's arrays to parameters of ours: the `params` of a format.

    Args:
        rules: config.json -> the rules of that model.
        used: (config.json, arrays) -> the arrays by the names of the rules. It leaves out what no parameter needs by
            its name. None: each array is used as it is.
        unused: config.json -> shapes, by name, of arrays that no output depends on, which are left out too.
    """

    rules: Callable[[Config], tuple[Rule, ...]]
    used: Callable[[Config, Arrays], Arrays] | None = None
    unused: Callable[[Config], dict[str, tuple[int, ...]]] = lambda _: {}

    def __call__(self, config: Config, arrays: Arrays, like: Params, *, maker: Maker | None = None) -> Params:
        """Return the arrays of a model as the parameters of the network of the format's `network_fields(config)`.

        Args:
            config: its config.json.
            arrays: its arrays by name, as files have them.
            like: parameters of that network, or their shapes.
            maker: as in `to_ours`.

        Raises:
            ConfigError: as `network_fields` does.
            CheckpointMismatchError: as `to_ours` does.
        """
        remaining, left_out = arrays if self.used is None else self.used(config, arrays), self.unused(config)
        if left_out:
            remaining = {name: array for name, array in remaining.items() if name not in left_out}
        return to_ours(remaining, self.rules(config), like, maker=maker)

    def theirs(self, config: Config, params: Params) -> dict[str, np.ndarray]:
        """Return parameters of ours as all arrays of the model, under its names; those that are unused hold 0.

        Raises:
            ConfigError: as `network_fields` does.
            CheckpointMismatchError: as `to_theirs` does.
        """
        arrays = to_theirs(params, self.rules(config))
        dtype = next(iter(arrays.values())).dtype
        return arrays | {name: np.zeros(shape, dtype) for name, shape in self.unused(config).items()}


def to_theirs(params: Params, rules: Iterable[Rule]) -> dict[str, np.ndarray]:
    """Write parameters of ours under their names and in their layout: the inverse of `to_ours`, bit for bit.

    Raises:
        CheckpointMismatchError: for a parameter without a rule.
    """
    ours = trees.paths(params)
    arrays = {}
    for path, rule, names in matched(ours, rules):
        for copies, part in zip(names, rule.parts(np.asarray(ours[path])), strict=True):
            arrays.update({name: np.ascontiguousarray(part) for name in copies})
    return arrays


def rows(array: ForeignArray, first: int, count: int) -> ForeignArray:
    """So many entries of the first axis of an array, from one on; those of a file stay there."""
    return array.rows(first, count) if isinstance(array, StoredArray | Packed) else array[first : first + count]


def with_leading_axis(array: ForeignArray) -> ForeignArray:
    """The same numbers with a first axis of length 1; those of a file stay there."""
    shape = (1, *array.shape)
    return array.reshaped(shape) if isinstance(array, StoredArray | Packed) else array.reshape(shape)


def refuse(subject: str, wrong: Mapping[str, list[str]]) -> None:
    """Refuse with a table of everything that is wrong, if anything is.

    Args:
        subject: what does not fit.
        wrong: the kind of mistake -> what has it.

    Raises:
        CheckpointMismatchError: unless all lists are empty.
    """
    if any(wrong.values()):
        table = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in wrong.items() if names)
        raise CheckpointMismatchError(f"{subject}: {table}")


def matched(paths: Iterable[str], rules: Iterable[Rule]) -> Iterator[tuple[str, Rule, list[list[str]]]]:
    """Yield (path, rule, names) of every path, in order. The names are the copies of each part.

    Raises:
        CheckpointMismatchError: for a path with no rule, or with several.
    """
    # a path fits only rules of its own form, and a large network may have hundreds of rules
    alike: dict[str, list[Rule]] = {}
    for rule in rules:
        alike.setdefault(_form(rule.ours), []).append(rule)
    pairs = [
        (path, [(rule, numbers) for rule in alike.get(_form(path), ()) if (numbers := rule.numbers(path)) is not None])
        for path in paths
    ]
    unruled = [path for path, matches in pairs if len(matches) != 1]
    if unruled:
        raise CheckpointMismatchError(
            f"{len(unruled)} parameters of the network have no rule, or more than one: {_some(unruled)}; "
            "was it built with the fields of the same configuration?"
        )
    for path, matches in pairs:
        rule, numbers = matches[0]
        yield path, rule, rule.names(numbers)


@functools.lru_cache(maxsize=4096)
def _form(path: str) -> str:
    """A path, or what a rule has for it, without its numbers."""
    return re.sub(r"([0-9]+|{\w+})+", "#", path)


@functools.cache
def _pattern(ours: str) -> re.Pattern[str]:
    """The paths that a rule's `ours` stands for, its words as named groups."""
    parts = (
        f"(?P<{part[1:-1]}>[0-9]+)" if part.startswith("{") else re.escape(part) for part in re.split(r"({\w+})", ours)
    )
    return re.compile("".join(parts))


def _mismatch(arrays: Arrays, rule: Rule, names: list[list[str]], path: str, ours: Shape) -> list[str]:
    """What is wrong with the arrays of one rule."""
    wrong = []
    try:
        # takes little memory, whatever the shape
        parts = rule.parts(np.broadcast_to(np.zeros((), np.float32), ours.shape))
    except ValueError:
        return [f"{path} of shape {tuple(ours.shape)} cannot hold {names[0][0]} of shape {arrays[names[0][0]].shape}"]
    for copies, part in zip(names, parts, strict=True):
        for name in copies:
            array = arrays[name]
            if array.shape != part.shape:
                wrong.append(
                    f"{name} has shape {array.shape}, but {path} of shape {tuple(ours.shape)} needs {part.shape}"
                )
            elif not jnp.issubdtype(array.dtype, jnp.floating):
                wrong.append(f"{name} holds {array.dtype}, but {path} needs floating numbers")
            elif name != copies[0] and not np.array_equal(array, arrays[copies[0]], equal_nan=array.dtype.kind == "f"):
                wrong.append(f"{name} differs from {copies[0]}, but the network has one {path} for all blocks")
    return wrong


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
