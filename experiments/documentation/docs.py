"""API pages from the docstrings, each chapter's README on its page, formulas rendered.

    python -m experiments.docs FOLDER

Warnings of pdoc are errors, so a reference that leads nowhere stops it.
"""

import importlib
import pkgutil
import sys
from pathlib import Path

import gendiff


def with_readmes() -> None:
    """Every module imported, with the README of its folder below each chapter's docstring."""
    for found in pkgutil.walk_packages(gendiff.__path__, "gendiff."):
        module = importlib.import_module(found.name)
        readme = Path(module.__file__ or "").with_name("README.md")
        if found.ispkg and readme.is_file():
            module.__doc__ = f"{module.__doc__}\n\n{readme.read_text()}"


def main(folder: str) -> None:
    import pdoc

    with_readmes()
    pdoc.render.configure(math=True, show_source=False)
    pdoc.pdoc("gendiff", output_directory=Path(folder))
    print(Path(folder) / "index.html")


if __name__ == "__main__":
    main(*sys.argv[1:])
