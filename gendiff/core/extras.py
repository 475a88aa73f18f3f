"""Optional packages: how a missing one is named, in one sentence that works."""

import importlib.metadata
import re
import shlex


def needs(what: str, package: str, extra: str) -> str:
    """The message for a missing package.

    Args:
        what: what needs the package, with its verb, as in "adaptive steps need".
        package: the package as people know it.
        extra: the optional dependency of this project that brings it.
    """
    return f"{what} {package}: {install(extra)}"


def install(extra: str) -> str:
    """The advice alone, for a message that has named the package already: the extra, and a line that brings what it names."""
    advice = f"install this project's extra [{extra}]"
    packages = requirements(extra)
    return (
        f"{advice}: pip install {shlex.join(packages)}"
        if packages
        else f"{advice}, as the README's section Install shows"
    )


def requirements(extra: str) -> list[str]:
    """What pip must bring for an extra of the installed package, with those of extras that it names; none where it is not installed."""
    try:
        stated = importlib.metadata.requires("gendiff") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    packages: dict[str, None] = {}
    for line in stated:
        requirement, _, marker = line.partition(";")
        if f'extra == "{extra}"' not in marker:
            continue
        if of := re.match(r"gendiff\[(.*?)\]", requirement):
            packages |= dict.fromkeys(each for name in of[1].split(",") for each in requirements(name))
        else:
            condition = re.sub(r'(\s+and\s+)?extra == "[\w-]+"', "", marker).strip()
            packages[f"{requirement.strip()}; {condition}" if condition else requirement.strip()] = None
    return list(packages)
