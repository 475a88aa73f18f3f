"""The settings of a LoRA of peft, beside its arrays: some scale a change, some make it another kind.

diffusers writes them into the header of a file, the name of the network before each. peft writes them into
adapter_config.json.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from gendiff.core import child_process, foreign_files
from gendiff.core.errors import ConfigError
from gendiff.core.types import Config
from gendiff.weights.lora import lora_names, pattern_keys

HEADER = "lora_adapter_metadata"
"""The entry of a file's header that holds them, as JSON."""
NOTES = {
    *("r", "rank_pattern"),  # the arrays say their rank
    # they say their layers
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "target_parameters"),
    *("lora_dropout", "inference_mode", "task_type", "base_model_name_or_path", "revision"),
    *("auto_mapping", "peft_version"),
    *("runtime_config", "eva_config", "megatron_config", "megatron_core", "qalora_group_size", "ensure_weight_tying"),
}
"""Settings that change nothing about arrays which are there."""
SCALES = {"lora_alpha", "alpha_pattern", "use_rslora"}
FIXED: dict[str, tuple[object, ...]] = {
    "peft_type": ("LORA", None),
    "bias": ("none", None),
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),  # others change the base too
}
"""The values of those settings that make another kind of change."""
LONGEST = 1000
"""Characters of a regular expression in alpha_pattern."""
PLAIN = re.compile(r"\^?[\w.]*")
"""Keys of alpha_pattern that are matched at once. Others have the time and memory of a child process."""


def of_header(header: Mapping[str, str], source: str = "") -> Config:
    """Return the settings that the header of a file, `source` in messages, holds; none where it has no such entry.

    Raises:
        DataError: for an entry that is no JSON.
        ConfigError: for one that is no object.
    """
    text = header.get(HEADER)
    if text is None:
        return {}
    settings = foreign_files.decoded(text, f"{source}: {HEADER}" if source else HEADER)
    if not isinstance(settings, dict):
        raise ConfigError(f"{HEADER} must be an object of settings, got {type(settings).__name__}")
    return settings


def of_network(settings: Config, network: str) -> Config:
    """Return the settings of one network, without its name before them. Those that name no network are of all.

    The keys of alpha_pattern are regular expressions.

    Args:
        settings: as `of_header` returns them, or an adapter_config.json.
        network: such as "unet".

    Raises:
        ConfigError: for a setting that makes the change another kind than up · down beside a layer, or that is not
            known, and for a key of alpha_pattern that is no regular expression or has more than LONGEST characters.
    """
    prefix = f"{network}."
    result = {
        name.removeprefix(prefix): value
        for name, value in settings.items()
        if name.startswith(prefix) or "." not in name
    }
    for name, value in result.items():
        if name in FIXED:
            if value not in FIXED[name]:
                raise ConfigError(
                    f"LoRA of {network}: {name} = {value!r} is not supported, only {', '.join(map(repr, FIXED[name]))}"
                )
        elif value and name not in NOTES | SCALES:
            raise ConfigError(
                f"LoRA of {network}: {name} = {value!r} is not supported: such changes are no product beside a layer"
            )
    pattern = result.get("alpha_pattern") or {}
    if not isinstance(pattern, Mapping):
        raise ConfigError(f"alpha_pattern = {pattern!r} must give names of layers a number")
    for key in pattern:
        _check(key)
    return result | {"alpha_pattern": pattern}


def alpha(settings: Config, layer: str) -> float | None:
    """Return what the settings of a network give a layer as α, or None where they say nothing.

    Of alpha_pattern the first key counts that matches the end of the name, from its beginning or from a point on. A
    layer of CLIP's text tower has two names, with and without "text_model." before it.

    Args:
        settings: of `of_network`.
        layer: its name.

    Raises:
        ConfigError: for what is no positive number, and where the keys take more than 2 s.

    References:
        get_pattern_key of peft 0.21.
    """
    key = _first_match(list(settings["alpha_pattern"]), [layer, layer.removeprefix(lora_names.TOWER)])
    value = settings.get("lora_alpha") if key is None else settings["alpha_pattern"][key]
    if key is None and value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ConfigError(f"lora_alpha = {value!r} (of {layer}) must be a positive number")
    return float(value)


def _first_match(keys: list[str], names: list[str]) -> str | None:
    request = {"keys": keys, "names": names}
    try:
        simple = all(PLAIN.fullmatch(key) for key in keys)
        match = pattern_keys.answer(request) if simple else child_process.run(Path(pattern_keys.__file__), request)
    except child_process.ChildError as error:
        raise ConfigError(f"alpha_pattern: matching the name of {names[0]} {error}") from error
    return match[0] if match else None


def _check(key: str) -> None:
    """ConfigError for a key of alpha_pattern that is no regular expression, or too long."""
    if len(key) > LONGEST:
        raise ConfigError(
            f"alpha_pattern: {key[:40]!r} … of {len(key)} characters is too long: a key has at most {LONGEST}"
        )
    try:
        pattern_keys.compiled(key)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"alpha_pattern: {key!r} is no regular expression: {error}") from error
