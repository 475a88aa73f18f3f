"""What messages call the program that runs."""

import sys
from pathlib import Path

STUDIES = "python -m experiments"
"""What runs studies, from a clone of the repository."""


def program() -> str:
    """What a person typed to start this process, as messages name it."""
    start = Path(sys.argv[0])
    if start.stem == "gendiff" or (start.name, start.parent.name) == ("__main__.py", "gendiff"):
        return "gendiff"
    return f"python {sys.argv[0]}" if start.suffix == ".py" and start.stem != "__main__" else STUDIES
