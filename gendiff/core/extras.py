"""Messages for missing optional packages, with the command that installs them."""

import importlib.metadata
import importlib.util
import re
import shlex
from pathlib import Path

from gendiff.core.errors import DataError


def needs(what: str, package: str, extra: str) -> str:
    """The message for a missing package.

    Args:
        what: what needs the package, with its verb, as in "adaptive steps need".
        package: the package as people know it.
        extra: the optional dependency of this project that brings it.
    """
    return f"{what} {package}: {install(extra)}"


def install(extra: str) -> str:
    """Return the advice to install an extra, for a message that has named the package already.

    It names the extra, and has a command that installs its packages.
    """
    advice = f"install this project's extra [{extra}]"
    packages = requirements(extra)
    return (
        f"{advice}: pip install {shlex.join(packages)}"
        if packages
        else f"{advice}, as the README's section Install shows"
    )


def package_file(package: str, name: str, missing: str, command: str) -> Path:
    """Return a file below the folder of an installed package of PyPI, which is located and not imported.

    Raises:
        ImportError: `missing`, without the package.
        DataError: path first, with the command that installs it again, for a package without the file.
    """
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ImportError(missing)
    file = Path(spec.origin).parent / name
    if not file.is_file():
        raise DataError(f"{file}: no such file; the package {package} is not whole: {command}")
    return file


def requirements(extra: str) -> list[str]:
    """Return what pip must install for an extra of the installed package, or nothing where it is not installed.

    Extras that the extra names are included.
    """
    try:
        stated = importlib.metadata.requires("gendiff") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    packages: dict[str, None] = {}
    for line in stated:
        requirement, _, marker = line.partition(";")
        if f'extra == "{extra}"' not in marker:
            continue
        if extras := re.match(r"gendiff\[(.*?)\]", requirement):
            packages |= dict.fromkeys(each for name in extras[1].split(",") for each in requirements(name))
        else:
            condition = re.sub(r'(\s+and\s+)?extra == "[\w-]+"', "", marker).strip()
            packages[f"{requirement.strip()}; {condition}" if condition else requirement.strip()] = None
    return list(packages)
