"""Hooks of MkDocs: pages that lie elsewhere in the repository, one page per module, the navigation, and formulas as
MathML.
"""

import html
import os
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import latex2mathml.converter
from mkdocs.structure.files import File, Files

from experiments.documentation import notebooks

ROOT = Path(__file__).resolve().parents[2]
OWN = Path(__file__).with_name("pages")
_FOUND = [path.parent.name for path in ROOT.glob("gendiff/*/README.md")]
CHAPTERS = sorted(_FOUND, key=lambda name: (name == "core", name != "diffusion", name))
RESULTS = sorted(path.parent.name for path in (ROOT / "experiments" / "results").glob("*/README.md"))
GUIDE = [
    *(
        "start.md",
        "pictures.md",
        "sounds.md",
        "concepts.md",
        "samplers.md",
        "guidance.md",
        "edit.md",
        "text_to_image.md",
        "stable_diffusion.md",
    ),
    *(
        "serve.md",
        "chat.md",
        "own_network.md",
        "fine_tune.md",
        "tune.md",
        "training.md",
        "copies.md",
        "data_report.md",
        "cost.md",
        "from_folder_to_pod.md",
        "hosts.md",
    ),
    "extending.md",
]
PEERS = {"Coming from diffusers": "peers.md"}
FACTS = [
    "words.md",
    {"Supported models": "supported_models.md"},
    "precision.md",
    {"Faults and wrong input": "faults.md"},
    {"Licences": "licences.md"},
    "features.md",
]
"""Pages of the guide, called as their headings are; with another name, or a comment above the heading, they need a
title.
"""
ALPHABETS = {"N": "𝒩", "L": "ℒ", "E": "𝔼", "R": "ℝ"}
"""Of \\mathcal and \\mathbb: browsers show another alphabet only where the letters are such characters."""
PRIME = '<mo lspace="0" rspace="0">′</mo>'


def on_config(config: Any) -> Any:
    """The navigation, so that a new chapter, module or result appears by itself."""
    config.nav = [
        {"Home": "index.md"},
        {"Guide": [*GUIDE, PEERS, *FACTS]},
        {"Chapters": [{name: f"chapters/{name}.md"} for name in CHAPTERS]},
        {"Results": ["results/index.md", *({name: f"results/{name}.md"} for name in RESULTS)]},
        {
            "API": [
                {name: [{module.split(".", 1)[1]: f"api/{module}.md"} for module in _modules(name)]}
                for name in CHAPTERS
            ]
        },
        {"Project": ["experiments.md", "contributing.md", "changes.md"]},
    ]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that lie elsewhere, their pictures, notebooks of the guide, and the page of each module."""
    for page, source in _sources().items():
        if not (OWN / page).is_file():
            files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for picture in _pictures():
        files.append(File.generated(config, picture, abs_src_path=str(ROOT / "experiments" / picture)))
    for page in GUIDE:
        text = (OWN / page).read_text(encoding="utf-8")
        if notebooks.BLOCK.search(text):
            files.append(File.generated(config, _notebook(page), content=notebooks.notebook(text)))
    words = _words()
    for module in (module for name in CHAPTERS for module in _modules(name)):
        head, text = "", f"::: gendiff.{module}\n"
        if known_as := words.get(module):
            head = "---\nsearch:\n  boost: 2\n---\n"  # who searches for the word of the field finds its formula
            text = f"[Words of the field](../words.md): {', '.join(known_as)}.\n\n{text}"
        files.append(File.generated(config, f"api/{module}.md", content=f"{head}# {module}\n\n{text}"))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links between files of the repository become links between pages; what has no page is named without a link."""
    source = _sources().get(page.file.src_uri)
    if source is None:
        return markdown
    if page.file.src_uri == "words.md":
        markdown = NAME.sub(lambda name: f"[{name[0]}](api/{_module_of(name[1])}.md)", markdown)
    if page.file.src_uri.startswith("results/"):
        page.meta["hide"] = ["toc"]  # tables and pictures take its place
    paths = {path.relative_to(ROOT).as_posix(): path.relative_to(OWN).as_posix() for path in OWN.glob("assets/*.png")}
    uris = (
        {path: uri for uri, path in _sources().items()}
        | {f"experiments/{picture}": picture for picture in _pictures()}
        | paths
    )
    here, folder = os.path.dirname(page.file.src_uri), os.path.dirname(source)

    def linked(match: re.Match[str]) -> str:
        words, target, anchor = match.groups()
        if "://" in target:
            return match[0]
        uri = uris.get(os.path.normpath(os.path.join(folder, target)))
        plain = re.sub(r"^!?\[|\]$", "", words)
        return plain if uri is None else f"{words}({os.path.relpath(uri, here or '.')}{anchor or ''})"

    if page.file.src_uri in GUIDE:
        page.meta["search"] = {"boost": 2}  # a guide before the modules that it uses
    text = re.sub(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)#\s]+)(#[^)\s]*)?\)", linked, markdown)
    if page.file.src_uri not in GUIDE or not notebooks.BLOCK.search(markdown):
        return text
    download = (
        f"[Download this page as a notebook]({_notebook(page.file.src_uri)}){{ "
        f'download="{Path(page.file.src_uri).stem}.ipynb" }}'
    )
    return re.sub(r"^(# .*)$", rf"\1\n\n{download}", text, count=1, flags=re.M)


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Formulas as MathML, which browsers show without a script; axes of a shape as in the source, `b *shape`, which is
    no product.
    """
    if page.file.src_uri.startswith("api/"):
        content = re.sub(r'(<span class="o">\*</span>) (?=<span class="n">)', r"\1", content)
        content = re.sub(r"(\w) \* (\w+\])", r"\1 *\2", content)
    if page.file.src_uri.startswith("results/"):
        content = f'<div class="results">{content}</div>'
    return re.sub(
        r'<(span|div) class="arithmatex">(.*?)</\1>',
        lambda match: _formula(html.unescape(match[2])),
        content,
        flags=re.S,
    )


def _formula(source: str) -> str:
    block, formula = source.startswith("\\["), source[2:-2]
    formula = re.sub(r"\\math(?:cal|bb)\s*{?(\w)}?", lambda match: ALPHABETS[match[1]], formula)
    formula = re.sub(r"\\mathrm\b", r"\\text", formula)
    mathml = latex2mathml.converter.convert(formula, display="block" if block else "inline")
    # a prime is a raised sign already: beside its letter, not above it
    mathml = re.sub(r"<msup>(<mi>[^<]*</mi>)<mi>&#x02032;</mi></msup>", rf"<mrow>\1{PRIME}</mrow>", mathml)
    mathml = re.sub(
        r"<msup>(<mi>[^<]*</mi>)<mrow><mi>&#x02032;</mi>(<mn>2</mn>)</mrow></msup>",
        rf"<msup><mrow>\1{PRIME}</mrow>\2</msup>",
        mathml,
    )
    return f'<div class="formula">{mathml}</div>' if block else mathml


def _sources() -> dict[str, str]:
    """Page of the site -> file of the repository."""
    return {
        **{path.relative_to(OWN).as_posix(): path.relative_to(ROOT).as_posix() for path in OWN.rglob("*.md")},
        **{f"chapters/{name}.md": f"gendiff/{name}/README.md" for name in CHAPTERS},
        "results/index.md": "experiments/results/README.md",
        **{f"results/{name}.md": f"experiments/results/{name}/README.md" for name in RESULTS},
        "peers.md": "tests/peers/README.md",
        "experiments.md": "experiments/README.md",
        "contributing.md": "CONTRIBUTING.md",
        "changes.md": "CHANGELOG.md",
    }


def _pictures() -> Iterator[str]:
    """results/NAME/FILE of every picture that a page of results shows."""
    for name in RESULTS:
        page = (ROOT / "experiments" / "results" / name / "README.md").read_text(encoding="utf-8")
        yield from (
            f"results/{name}/{file}" for file in dict.fromkeys(re.findall(r"\]\(([^)/]+\.(?:png|webp))\)", page))
        )


def _notebook(page: str) -> str:
    return f"notebooks/{page.removesuffix('.md')}.ipynb"


NAME = re.compile(r"`([a-z_]+(?:\.\w+)+)`")
"""A name below gendiff in the page of words."""


def _words() -> dict[str, list[str]]:
    """Module -> the words of the field whose row in the page of words names it or what it defines."""
    words: dict[str, list[str]] = {}
    for word, names in re.findall(r"^\| (.+?) \|.*\| (.+?) \|$", (OWN / "words.md").read_text("utf-8"), re.M):
        for name in NAME.findall(names):
            words.setdefault(_module_of(name), []).append(word)
    return words


def _module_of(name: str) -> str:
    """The module, below gendiff, that this name is or that defines it."""
    value = pkgutil.resolve_name(f"gendiff.{name}")
    return (value.__name__ if isinstance(value, ModuleType) else value.__module__).removeprefix("gendiff.")


def _modules(chapter: str) -> list[str]:
    """Dotted names below gendiff of a chapter's packages and modules, those of the top before those of its folders."""
    folder = ROOT / "gendiff" / chapter
    paths = sorted(folder.rglob("[!_]*.py"), key=lambda path: (len(path.parts), path))
    packages = [path for path in sorted(folder.rglob("__init__.py")) if path.parent != folder]
    return [
        ".".join(path.with_suffix("").relative_to(ROOT / "gendiff").parts).removesuffix(".__init__")
        for path in (*paths, *packages)
    ]
