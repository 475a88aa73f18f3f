"""Which key of peft's alpha_pattern a layer has.

`core.child_process` runs it, since a stranger's pattern may take for ever, so that it imports nothing of gendiff.
"""

import re
from collections.abc import Mapping, Sequence


def answer(request: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the first key that matches the end of a name, from its beginning or from a point on; nothing if none does.

    Args:
        request: "keys", regular expressions, and "names", those of one layer.
    """
    for key in request["keys"]:
        pattern = compiled(key)
        if any(pattern.match(name) for name in request["names"]):
            return [key]
    return []


def compiled(key: str) -> re.Pattern[str]:
    """The pattern that a key is in peft."""
    return re.compile(rf"(.*\.)?({key})$")
