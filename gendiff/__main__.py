"""The command `gendiff`, also `python -m gendiff`."""

import sys

from gendiff.commands import start


def main() -> int:
    """The exit code of the command that was typed."""
    return start.main("gendiff.commands.catalogue", "pip install 'gendiff[run]'")


if __name__ == "__main__":
    sys.exit(main())
