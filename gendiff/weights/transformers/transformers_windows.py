"""How a config.json of transformers says which layers have a sliding window."""

from gendiff.core.types import Config
from gendiff.weights.settings import refuse_unless

FULL, SLIDING = "full_attention", "sliding_attention"


def fields(kind: str, values: Config, layers: object) -> Config:
    """Return window and global_blocks of `networks.LanguageModel`.

    Args:
        kind: the class, for messages.
        values: its settings, of which `sliding_window` and `num_hidden_layers` are read.
        layers: the setting `layer_types`: FULL or SLIDING for each layer.

    Raises:
        ConfigError: for other layers, and for a window that is needed and is not there, or below 1.
    """
    depth, window = values["num_hidden_layers"], values["sliding_window"]
    named = list(layers) if isinstance(layers, list | tuple) else []
    fits = len(named) == depth and all(each in (FULL, SLIDING) for each in named)
    refuse_unless(fits, kind, "layer_types", layers, f"{FULL!r} or {SLIDING!r} for each of {depth} layers is needed")
    numbers = tuple(number for number, each in enumerate(named) if each == FULL)
    if len(numbers) == depth:
        return {"window": None, "global_blocks": ()}
    fits = window is not None and window > 0
    refuse_unless(fits, kind, "sliding_window", window, f"{depth - len(numbers)} layers have one: it must be above 0")
    return {"window": window, "global_blocks": numbers}
