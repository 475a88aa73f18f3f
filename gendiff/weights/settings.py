"""A foreign configuration over its defaults: every setting is one we know, with a type and value that we can follow."""

import math
from collections.abc import Mapping, Sized

from gendiff.core.errors import ConfigError
from gendiff.core.foreign_files import Config
from gendiff.core.renamed import renamed

NOTES_OF_TRANSFORMERS: Config = {"torch_dtype": None, "dtype": None, "transformers_version": None}
"""What `transformers` writes about a file beside the settings of its model."""
OPTIONAL_NOTES_OF_TRANSFORMERS: dict[str, tuple[type, ...]] = dict.fromkeys(NOTES_OF_TRANSFORMERS, (str,))

LARGEST, MOST_LAYERS = 2**31 - 1, 10_000
"""The largest whole number of a setting, and that of one that counts layers, for which names are written."""
DEPTHS = (
    "layers_per_block",
    "num_layers",
    "num_single_layers",
    "num_hidden_layers",
    "transformer_layers_per_block",
    "reverse_transformer_layers_per_block",
    "n_layers",
    "n_refiner_layers",
    "n_layer",
    "block_count",
)
"""Settings that count blocks."""
FEW = 100
"""So many blocks are always built, since the table of what they lack says more."""
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    dict: "an object",
    type(None): "null",
}


def from_config(
    config: Config,
    kinds: tuple[str, ...],
    defaults: Config,
    supported: Mapping[str, tuple[object, ...]],
    optional: Mapping[str, tuple[type, ...]],
) -> Config:
    """Return the settings, with lists as tuples; keys with a leading underscore are notes of the writer and stay out.

    Args:
        config: as it stands in config.json.
        kinds: names of the class, if the configuration tells one.
        defaults: of every setting there is. Its type is the one that a value must have; so is that of the entries of a
            list.
        supported: the values of those settings that have few.
        optional: types of the settings that may be null. A tuple whose default has no entries holds numbers beside
            float, else whole ones.

    Raises:
        ConfigError: that names the setting and its value.
    """
    if not isinstance(config, Mapping) or not all(isinstance(name, str) for name in config):
        raise ConfigError(
            f"config = {config!r} must be a mapping with the settings of {kinds[0]} by name, as in its config.json"
        )
    kind = config.get("_class_name", kinds[0])
    if kind not in kinds:
        raise ConfigError(f"_class_name = {kind!r}: these rules are for {' and '.join(kinds)}")
    written = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in config.items()
        if not name.startswith("_")
    }
    unknown = sorted(set(written) - set(defaults))
    if unknown:
        raise ConfigError(f"{kind}: {unknown[0]} = {written[unknown[0]]!r} is a setting that these rules do not know")
    result = dict(defaults) | written
    for name, value in result.items():
        if name in supported:
            refuse_unless(value in supported[name], kind, name, value, f"only {', '.join(map(repr, supported[name]))}")
        else:
            _check_type(kind, name, value, defaults[name], optional.get(name))
    return result


def refuse_unless(fits: bool, kind: str, name: str, value: object, instead: str) -> None:
    """Refuse a value of a setting.

    Args:
        fits: whether it can be followed.
        kind: the class.
        name: the setting.
        value: the value.
        instead: what is supported.

    Raises:
        ConfigError: unless it fits.
    """
    if not fits:
        raise ConfigError(f"{kind}: {name} = {value!r} is not supported, {instead}")


def expansion(kind: str, values: Config) -> int:
    """Return intermediate_size over hidden_size of a model of `transformers`.

    Raises:
        ConfigError: unless it is a whole number.
    """
    inner: int = values["intermediate_size"]
    width: int = values["hidden_size"]
    refuse_unless(
        width > 0 and inner > 0 and inner % width == 0,
        kind,
        "intermediate_size",
        inner,
        f"only multiples of hidden_size = {width}",
    )
    return inner // width


def _check_type(kind: str, name: str, value: object, default: object, optional: tuple[type, ...] | None) -> None:
    types = (type(default),) if optional is None else (*optional, type(None))
    entry = type(default[0]) if isinstance(default, tuple) and default else float if float in types else int
    fits = any(_is(value, one) for one in types) and all(
        _is(part, entry) for part in (value if isinstance(value, tuple) else ())
    )
    words = (f"a list of {_WORDS[entry].removeprefix('a ')}s" if one is tuple else _WORDS[one] for one in types)
    refuse_unless(fits, kind, name, value, f"{' or '.join(words)} is needed")
    parts = value if isinstance(value, tuple) else (value,)
    most = MOST_LAYERS if "layer" in name or name == "block_count" else LARGEST
    fits = len(parts) <= MOST_LAYERS and all(abs(part) <= most for part in parts if isinstance(part, int))
    fits = fits and not any(math.isnan(part) for part in parts if isinstance(part, float))
    refuse_unless(fits, kind, name, value, f"at most {MOST_LAYERS} numbers, whole ones up to {most}, are read")


def _is(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def check_depth(config: Config, arrays: Sized) -> None:
    """Refuse a configuration of more blocks than there are arrays, since to build such a network may take for ever.

    Raises:
        ConfigError: that names the setting.
    """
    for name in DEPTHS:
        if _largest(config.get(name)) > max(FEW, len(arrays)):
            raise ConfigError(f"{name} = {config[name]!r} is more than its weights have arrays ({len(arrays)})")


def _largest(value: object) -> int | float:
    """The largest number in a setting, which may be a list of them, or a list of such lists."""
    listed = value if isinstance(value, list | tuple) else (value,)
    numbers = [number for each in listed for number in (each if isinstance(each, list | tuple) else (each,))]
    return max((number for number in numbers if isinstance(number, int | float)), default=0)


__getattr__ = renamed("weights.settings", {"of": ("weights.settings.from_config", from_config)})
