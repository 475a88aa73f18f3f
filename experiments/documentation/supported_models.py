"""The table of models that are drawn with from folders of others, made from what the library reads and from the tests
that hold it: `python -m experiments.documentation.supported_models`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from experiments.documentation import faults_page
from experiments.documentation.faults_page import ROOT
from gendiff.core.types import Config
from gendiff.pipelines.stable_diffusion import model_index, model_parts
from gendiff.pipelines.stable_diffusion.model_index import Kind
from gendiff.runs.reporting import json_files
from gendiff.weights import original_transformers

PAGE = Path(__file__).with_name("pages") / "supported_models.md"
RECORD = ROOT / "tests" / "peers" / "last_run.json"
HEAD = """<!-- written by `python -m experiments.documentation.supported_models`; edit supported_models.py -->
# Supported models

Folders of diffusers that `text-to-image --model DIR`, `inspect` and `plan` take, and the tests that hold each. `serve`
takes all but DiT and models for inpainting; `train --lora` takes all but these and Stable Diffusion XL. Parts and
formats are read from the code. Tests of peers run the same folder in diffusers, and need it; those beside them hold
what diffusers wrote, without it. Tests marked *slow* run in `make test-slow`, the others in `make test`.
"""
TABLES = ("tests/pipelines/stable_diffusion/tiny_folders.py", "tests/pipelines/stable_diffusion/peer_cases.py")
"""Files of the cases that several tests have."""
HERE = "tests/pipelines/stable_diffusion/test"
PARITY = ("tests/peers/test_stable_diffusion.py", f"{HERE}_like_diffusers.py")
"""Files that hold draws against those of diffusers: with torch, and without it by what was stored."""


class Evidence(NamedTuple):
    """A test. case: the one of its table that is meant, "" for all of it."""

    file: str
    test: str
    case: str = ""


class Model(NamedTuple):
    """A row.

    name: in words. pipeline: one of its classes of diffusers. parity: of latents or pictures with diffusers, there and
        by a fixture. files: that each format is read. memory: that weights stay packed. shared: that several devices
        draw what one draws.
    """

    name: str
    pipeline: str
    parity: tuple[Evidence, ...]
    files: tuple[Evidence, ...]
    memory: tuple[Evidence, ...]
    shared: tuple[Evidence, ...]


def _model(
    name: str,
    folder: str,
    pipeline: str,
    files: tuple[Evidence, ...] = (),
    *,
    packed: bool = False,
) -> Model:
    """A row of tests that all folders have."""
    blocks = (
        "test_a_transformer_in_blocks_takes_the_memory_of_its_file_and_draws_the_pictures_of_its_numbers"
        if packed
        else "test_halves_take_half_the_memory_with_their_tables"
    )
    memory = (Evidence(f"{HERE}_packed_weights.py", blocks, folder),)
    read = Evidence(f"{HERE}_opened.py", "test_every_array_of_a_folder_is_used_once_and_returns_under_its_name", folder)
    several = Evidence(
        "tests/commands/text_to_image/test_many_devices.py",
        "test_eight_devices_draw_the_pictures_of_one_and_each_holds_its_share_of_the_weights",
        folder,
    )
    return Model(name, pipeline, _parity(folder), (read, *files), memory, (several,))


def _parity(case: str = "", what: str = "a_guided_run") -> tuple[Evidence, ...]:
    """Tests that hold a draw against that of diffusers."""
    return tuple(Evidence(file, f"test_{what}_ends_where_that_of_diffusers_does", case) for file in PARITY)


def _original(folder: str, name: str) -> tuple[Evidence, ...]:
    """Tests of a transformer in a single file."""
    return (
        Evidence(
            f"{HERE}_original_files.py",
            "test_the_transformer_is_that_of_the_file_and_the_other_parts_are_those_of_the_folder",
            folder,
        ),
        Evidence(
            "tests/peers/test_single_file.py",
            "test_a_transformer_in_the_original_layout_has_the_arrays_of_diffusers",
            name,
        ),
    )


_SINGLE = Evidence(f"{HERE}_single_weights.py", "test_the_parameters_are_those_of_the_folder")
_FLUX = _model("FLUX.1", "flux", "FluxPipeline", _original("flux", "FLUX.1"), packed=True)
ROWS = (
    _model("Stable Diffusion 1 and 2", "stable", "StableDiffusionPipeline", (_SINGLE._replace(case="stable"),)),
    _model("Stable Diffusion XL", "xl", "StableDiffusionXLPipeline", (_SINGLE._replace(case="xl"),)),
    _model(
        "Stable Diffusion 3 and 3.5",
        "sd3",
        "StableDiffusion3Pipeline",
        _original("sd3", "Stable Diffusion 3.5"),
        packed=True,
    ),
    _FLUX,
    _FLUX._replace(name="FLUX.1 Kontext", pipeline="FluxKontextPipeline", parity=_parity("kontext")),
    _FLUX._replace(name="FLUX.1 Fill", pipeline="FluxFillPipeline", parity=_parity(what="fill")),
    _model("FLUX.2 [klein]", "flux_2", "Flux2KleinPipeline", _original("flux_2", "FLUX.2"), packed=True),
    _model("Z-Image", "z_image", "ZImagePipeline", _original("z_image", "Z-Image"), packed=True),
    _model("DiT", "dit", "DiTPipeline")._replace(parity=_parity(what="a_class")),
)


def page() -> str:
    """The text of the page.

    Raises:
        ValueError: where a row names a test or a case that there is not.
    """
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    lines = [HEAD, _of_peers(record), "", "## Models", ""]
    heads = ("model", "parts", "equal to diffusers", "formats", "kernels in memory", "devices of a draw")
    lines += [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for row in ROWS:
        kind = model_index.KINDS[row.pipeline]
        cells = (
            f"{row.name}, `{row.pipeline}`",
            ", ".join(_parts(kind)),
            _shown(row.parity, record),
            f"{', '.join(_formats(kind))}: {_shown(row.files, record)}",
            f"{', '.join(model_parts.STORAGES)}: {_shown(row.memory, record)}",
            f"one, or several by `--mesh`: {_shown(row.shared, record)}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes the page and prints its path."""
    print(json_files.write_bytes(PAGE, page().encode()))


def _of_peers(record: Config) -> str:
    """What the last run of the tests of peers was."""
    packages = ", ".join(f"{name} {record['versions'][name]}" for name in ("diffusers", "transformers", "torch"))
    skipped = f", {record['skipped']} skipped" if record["skipped"] else ""
    note = f" {record['note']}." if record.get("note") else ""
    named = "" if "tests" in record else " That run did not note which tests it had."
    return (
        f"The tests of peers last ran on {record['date']} with {packages}: {record['passed']} passed, "
        f"{record['failed']} failed{skipped}.{note}{named}"
    )


def _parts(kind: Kind) -> Iterator[str]:
    """Those with parameters."""
    names = [name for name in kind.needs if name in (*model_parts.TOWERS, "unet", "transformer", "vae")]
    yield from (f"`{kind.needs[name][0]}`{' (optional)' if name in kind.may_lack else ''}" for name in names)


def _formats(kind: Kind) -> Iterator[str]:
    yield "folder of safetensors, in parts too"
    transformer = kind.needs.get("transformer", ("",))[0]
    if "unet" in kind.needs or transformer in original_transformers.KINDS:
        yield "single `.safetensors`"
    if transformer in original_transformers.KINDS:
        yield f"`.gguf` ({original_transformers.KINDS[transformer].architecture})"


def _shown(tests: tuple[Evidence, ...], record: Config) -> str:
    return ", ".join(_link(test, record) for test in tests) or "not tested"


def _link(test: Evidence, record: Config) -> str:
    """A link, with when it runs, and for one of peers whether it passed where the record says."""
    path = ROOT / test.file
    defined = {name: slow for name, _, slow in faults_page.defined(path)}
    if test.test not in defined:
        raise ValueError(f"{test.file} has no {test.test}, which a row of {Path(__file__).name} names")
    texts = [(ROOT / file).read_text(encoding="utf-8") for file in (test.file, *TABLES)]
    if test.case and not any(f'"{test.case}"' in text for text in texts):
        raise ValueError(f"{test.file} has no case {test.case!r}, which a row of {Path(__file__).name} names")
    name = f"{test.file}::{test.test}" + (f"[{test.case}]" if test.case else "")
    if not test.file.startswith("tests/peers/"):
        when = " (*slow*)" if defined[test.test] else ""
    elif "tests" not in record:
        when = " (peers)"
    else:
        passed = any(each == name or each.startswith(f"{name[:-1]}-") for each in record["tests"])
        when = f" (peers, {'passed' if passed else 'not in the last run'})"
    return f"[{Path(test.file).stem}](../../../{test.file}){when}"


if __name__ == "__main__":
    main()
