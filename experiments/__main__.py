"""`python -m experiments`: the command line of `gendiff`, and the studies."""

import sys

from gendiff.commands import start


def main() -> int:
    return start.main("experiments.catalogue", lambda: "run `make setup`, then use .venv/bin/python")


if __name__ == "__main__":
    sys.exit(main())
