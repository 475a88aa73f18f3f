"""How a config.json of transformers writes rotary positions, in its version 4 and in its version 5."""

from gendiff.core.types import Config
from gendiff.weights.settings import refuse_unless

DEFAULTS: Config = {"rope_theta": None, "rope_scaling": None, "rope_parameters": None}
OPTIONAL: dict[str, tuple[type, ...]] = {"rope_theta": (float,), "rope_scaling": (dict,), "rope_parameters": (dict,)}
BASE = 10_000.0
"""Where a configuration names none."""
LLAMA_3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")


def fields(kind: str, values: Config) -> Config:
    """Return rotary_base and rotary_stretch of `networks.LanguageModel`.

    Args:
        kind: the class, for messages.
        values: its settings: `rope_theta` and `rope_scaling` of version 4, or `rope_parameters` of version 5, which
            holds both.

    Raises:
        ConfigError: that names the setting and value without a match: a way to stretch positions other than by one
            factor and that of Llama 3, or settings of both versions that contradict each other.
    """
    older, newer = values["rope_scaling"], values["rope_parameters"]
    name, written = ("rope_scaling", older) if newer is None else ("rope_parameters", newer)
    rest = dict(written or {})
    if newer is not None:
        refuse_unless(
            older in (None, newer), kind, "rope_scaling", older, "beside rope_parameters, which says something else"
        )
    base = rest.pop("rope_theta", None)
    refuse_unless(_number(base) or base is None, kind, name, written, "rope_theta must be a number")
    outer = values["rope_theta"]
    refuse_unless(base is None or outer in (None, base), kind, "rope_theta", outer, f"{name} says {base}")
    base = base if base is not None else BASE if outer is None else outer
    refuse_unless(base > 1, kind, "rope_theta", base, "it must be above 1")
    share = rest.pop("partial_rotary_factor", 1.0)
    refuse_unless(share == 1.0, kind, "partial_rotary_factor", share, "only 1.0, all channels of a head")
    types: set[object] = {str(rest.pop(key)) for key in ("rope_type", "type") if key in rest} or {"default"}
    return {"rotary_base": float(base), "rotary_stretch": _stretch(kind, name, types, rest, written)}


def _stretch(
    kind: str, name: str, types: set[object], rest: Config, written: object
) -> tuple[float, float, float, int] | float | None:
    if types == {"default"}:
        refuse_unless(not rest, kind, name, written, "what is no setting of the type 'default' is unknown")
        return None
    if types == {"linear"}:
        fits = set(rest) == {"factor"} and _number(rest["factor"]) and rest["factor"] >= 1
        refuse_unless(fits, kind, name, written, "'linear' needs the number factor >= 1 and no others")
        return float(rest["factor"])
    refuse_unless(types == {"llama3"}, kind, name, written, "only the types 'default', 'linear' and 'llama3'")
    complete = set(rest) == set(LLAMA_3) and all(_number(value) for value in rest.values())
    refuse_unless(complete, kind, name, written, f"'llama3' needs the numbers {', '.join(LLAMA_3)} and no others")
    factor, low, high, original = (rest[key] for key in LLAMA_3)
    fits = factor >= 1 and 0 <= low < high and original >= 1 and original == int(original)
    refuse_unless(
        fits,
        kind,
        name,
        written,
        "'llama3' needs factor >= 1, 0 <= low_freq_factor < high_freq_factor, and a whole original length",
    )
    return float(factor), float(low), float(high), int(original)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
