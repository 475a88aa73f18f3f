"""JSON files that hold one object, as configurations of models do."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gendiff.core.errors import DataError

Config = Mapping[str, Any]  # values come from JSON: the reader of each setting checks its type
"""Settings of a model or a run by name, as read from JSON."""


def read(file: Path) -> dict[str, Any]:  # of any JSON
    """Read the object of a file that is there.

    Raises:
        DataError: path first, for what is no JSON, or no object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: must hold one JSON object, got {type(content).__name__}")
    return content
