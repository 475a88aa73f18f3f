"""A value that is one of several names. It needs no JAX, so that options are refused before JAX is loaded."""

import difflib
from collections.abc import Iterable


def choice(name: str, value: str, allowed: Iterable[str]) -> None:
    """Raise ValueError with the allowed options and the nearest of them, unless `value` is one of them."""
    options = list(allowed)
    if value not in options:
        near = difflib.get_close_matches(str(value), options, n=1)
        raise ValueError(
            f"{name} = {value!r} is none of {', '.join(options)}" + (f"; did you mean {near[0]!r}?" if near else "")
        )
