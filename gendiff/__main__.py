"""The command `gendiff`, also `python -m gendiff`."""

import sys

from gendiff.commands import start
from gendiff.core import extras


def main() -> int:
    """The exit code of the command that was typed."""
    return start.main("gendiff.commands.catalogue", lambda: extras.install("run"))


if __name__ == "__main__":
    sys.exit(main())
