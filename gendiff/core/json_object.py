"""JSON files that hold one object, as configurations of models do."""

import json
from pathlib import Path
from typing import Any

from gendiff.core.errors import DataError


def read(file: Path) -> dict[str, Any]:
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
