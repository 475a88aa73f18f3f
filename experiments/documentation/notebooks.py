"""A page of the guide as a Jupyter notebook: its Python blocks are code cells, and all else is Markdown."""

import json
import re
from typing import Any

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
"""A block that runs. Others, such as those of shell commands, stay text."""


def notebook(markdown: str) -> str:
    """The notebook of a page as JSON, in format 4.5. Links to other pages become plain words, because a notebook lies
    elsewhere.
    """
    cells: list[dict[str, Any]] = []
    for number, text in enumerate(BLOCK.split(markdown)):  # text and code by turns
        source = (
            text.strip("\n") if number % 2 else re.sub(r"!?\[([^\]]*)\]\((?!https?:)[^)]*\)", r"\1", text).strip("\n")
        )
        if not source:
            continue
        code: dict[str, Any] = {"execution_count": None, "outputs": []} if number % 2 else {}
        kind = "code" if number % 2 else "markdown"
        cells.append(
            {
                "cell_type": kind,
                "id": f"cell-{number}",
                "metadata": {},
                "source": source.splitlines(keepends=True),
                **code,
            }
        )
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return (
        json.dumps(
            {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}, ensure_ascii=False, indent=1
        )
        + "\n"
    )
