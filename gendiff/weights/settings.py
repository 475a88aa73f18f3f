"""A foreign configuration over its defaults: every setting is one we know, with a value that we can follow."""

from collections.abc import Mapping
from typing import Any

from gendiff.core.errors import ConfigError


def of(config: Mapping[str, Any], kinds: tuple[str, ...], defaults: Mapping[str, Any], supported: Mapping[str, tuple]) -> dict[str, Any]:
    """The settings, with lists as tuples; keys with a leading underscore are notes of the writer and stay out.

    kinds: names of the class, if the configuration tells one. defaults: of every setting there is. supported: the values of those
    that have few. Raises ConfigError that names the setting and its value.
    """
    kind = config.get("_class_name", kinds[0])
    if kind not in kinds:
        raise ConfigError(f"_class_name = {kind!r}: these rules are for {' and '.join(kinds)}")
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items() if not name.startswith("_")}
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ConfigError(f"{kind}: {unknown[0]} = {given[unknown[0]]!r} is a setting that these rules do not know")
    found = dict(defaults) | given
    for name, values in supported.items():
        refuse_unless(found[name] in values, kind, name, found[name], f"only {', '.join(map(repr, values))}")
    return found


def refuse_unless(fits: bool, kind: str, name: str, value: Any, instead: str) -> None:
    """ConfigError unless `fits`. instead: what is supported."""
    if not fits:
        raise ConfigError(f"{kind}: {name} = {value!r} is not supported, {instead}")
