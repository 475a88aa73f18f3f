"""The tables of models of others that are drawn and talked with, made from what the library reads and from the tests
that hold it: `python -m experiments.documentation.supported_models`. With `--tests` it prints the tests that need no
peer, as pytest takes them.
"""

import json
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple, get_args

from experiments.documentation import faults_page
from experiments.documentation.faults_page import ROOT
from gendiff.commands.chat.chat_options import Weights
from gendiff.core.types import Config
from gendiff.pipelines.stable_diffusion import model_index, model_parts
from gendiff.pipelines.stable_diffusion.model_index import Kind
from gendiff.runs.reporting import json_files
from gendiff.weights import language_models, original_transformers

PAGE = Path(__file__).with_name("pages") / "supported_models.md"
OF_PEERS = ROOT / "tests" / "peers" / "last_run.json"
RECORD = ROOT / "tests" / "supported_models.json"
"""The last run of the tests that need no peer."""
HEAD = """<!-- written by `python -m experiments.documentation.supported_models`; edit supported_models.py -->
# Supported models

Folders of diffusers that `text-to-image --model DIR`, `inspect` and `plan` take, and the tests that hold each. `serve`
takes all but DiT and models for inpainting; `train --lora` takes all but these and Stable Diffusion XL. Parts and
formats are read from the code. Tests of peers run the same folder in diffusers, and need it; those beside them hold
what diffusers wrote, without it. Tests marked *slow* run in `make test-slow`, the others in `make test`, and
`make test-supported` runs all but those of peers: each of them passed in its last run.
"""
OF_TEXTS = """
## Language models

Folders of transformers and GGUF files that `chat --model` and `serve --chat` take. SmolLM2 is a Llama, and llama.cpp
stores Mistral as one. `packed` computes with the blocks of a GGUF file.
"""
TABLES = (
    "tests/pipelines/stable_diffusion/tiny_folders.py",
    "tests/pipelines/stable_diffusion/peer_cases.py",
    "tests/weights/transformers/tiny_language_models.py",
)
"""Files of the cases that several tests have."""
HERE = "tests/pipelines/stable_diffusion/test"
SERVED = "tests/commands/serve/test_served_folders.py"
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
        draw what one draws. served: that the server does; () where it refuses.
    """

    name: str
    pipeline: str
    parity: tuple[Evidence, ...]
    files: tuple[Evidence, ...]
    memory: tuple[Evidence, ...]
    shared: tuple[Evidence, ...]
    served: tuple[Evidence, ...]


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
    served = (Evidence(SERVED, "test_a_folder_is_served_with_the_pictures_of_its_pipeline", folder),)
    return Model(name, pipeline, _parity(folder), (read, *files), memory, (several,), served)


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


_READS = (Evidence(SERVED, "test_pictures_are_read_beside_the_prompt_as_the_pipeline_reads_them", "kontext"),)
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
    _FLUX._replace(name="FLUX.1 Kontext", pipeline="FluxKontextPipeline", parity=_parity("kontext"), served=_READS),
    _FLUX._replace(name="FLUX.1 Fill", pipeline="FluxFillPipeline", parity=_parity(what="fill"), served=()),
    _model("FLUX.2 [klein]", "flux_2", "Flux2KleinPipeline", _original("flux_2", "FLUX.2"), packed=True),
    _model("Z-Image", "z_image", "ZImagePipeline", _original("z_image", "Z-Image"), packed=True),
    _model("DiT", "dit", "DiTPipeline")._replace(parity=_parity(what="a_class"), served=()),
)


class LanguageModel(NamedTuple):
    """A row of the second table.

    name: in words. kind: its `model_type` in transformers. architecture: of its GGUF files, "" for none. parity: of
        logits with transformers, there and by a fixture. files: that each format is read.
    """

    name: str
    kind: str
    architecture: str
    parity: tuple[Evidence, ...]
    files: tuple[Evidence, ...]


def _language_model(
    name: str, kind: str, architecture: str = "", case: str = "", *, peer: bool = False
) -> LanguageModel:
    """A row of tests that all have. case: of them. peer: whether a test opens a GGUF file in transformers."""
    case = case or name
    parity = (
        Evidence(_PEERS, "test_a_folder_of_ours_gives_the_same_logits_there_and_what_they_save_returns", case),
        Evidence(_TEXTS, "test_logits_are_those_of_transformers", case),
    )
    read = [Evidence(_TEXTS, "test_a_folder_that_we_write_returns_bit_for_bit", case)]
    if architecture:
        test = "test_a_model_that_llama_cpp_converts_is_that_of_its_folder"
        read.append(Evidence("tests/weights/quantised/test_gguf_llama.py", test, case))
    if peer:
        read.append(Evidence(_PEERS, "test_a_gguf_file_gives_the_same_logits_there", case))
    return LanguageModel(name, kind, architecture, parity, tuple(read))


_PEERS, _TEXTS = "tests/peers/test_language_models.py", "tests/weights/transformers/test_language_models.py"
LANGUAGE_MODELS = (
    _language_model("Llama 1 to 3", "llama", "llama", "Llama 3"),
    _language_model("Mistral", "mistral", "llama"),
    _language_model("Qwen 2", "qwen2", "qwen2"),
    _language_model("Qwen 3", "qwen3", "qwen3", peer=True),
    _language_model("Gemma 2", "gemma2", "gemma2", peer=True),
    _language_model("Gemma 3", "gemma3_text", "gemma3", peer=True),
    LanguageModel(
        "Gemma 3 that reads pictures, its texts",
        "gemma3",
        "",
        (Evidence(_PEERS, "test_the_text_model_of_gemma_3_that_reads_pictures_gives_the_same_logits"),),
        (Evidence(_TEXTS, "test_gemma_3_that_reads_pictures_is_read_for_its_texts"),),
    ),
    _language_model("GPT-2", "gpt2"),
)


def page() -> str:
    """The text of the page.

    Raises:
        ValueError: where a row names a test or a case that there is not, or one without peers that has not passed.
    """
    peers, others = (json.loads(record.read_text(encoding="utf-8")) for record in (OF_PEERS, RECORD))
    passed = {*peers["tests"], *others["tests"]}
    lines = [HEAD, _ran("of peers", peers, "diffusers", "transformers", "torch")]
    lines += [_ran("beside them", others, "jax"), "", "## Models", ""]
    lines += _row(
        "model", "parts", "equal to diffusers", "formats", "kernels in memory", "devices of a draw", "served", head=True
    )
    for row in ROWS:
        kind = model_index.KINDS[row.pipeline]
        lines += _row(
            f"{row.name}, `{row.pipeline}`",
            ", ".join(_parts(kind)),
            _shown(row.parity, passed),
            f"{', '.join(_formats(kind))}: {_shown(row.files, passed)}",
            f"{', '.join(model_parts.STORAGES)}: {_shown(row.memory, passed)}",
            f"one, or several by `--mesh`: {_shown(row.shared, passed)}",
            _shown(row.served, passed) if row.served else "no",
        )
    lines += [OF_TEXTS, *_row("model", "equal to transformers", "formats", "weights in memory", head=True)]
    for model in LANGUAGE_MODELS:
        formats = ["folder of safetensors, in parts too"]
        formats += [f"`.gguf` ({model.architecture})"] if model.architecture else []
        lines += _row(
            f"{model.name}, `{language_models.KINDS[model.kind][0]}`",
            _shown(model.parity, passed),
            f"{', '.join(formats)}: {_shown(model.files, passed)}",
            ", ".join(each for each in get_args(Weights) if model.architecture or each != "packed"),
        )
    return "\n".join(lines) + "\n"


def tests() -> list[str]:
    """The tests that the tables name and that need no peer, with all of their cases, as pytest takes them."""
    rows = [(*row.parity, *row.files, *row.memory, *row.shared, *row.served) for row in ROWS]
    rows += [(*model.parity, *model.files) for model in LANGUAGE_MODELS]
    names = (f"{test.file}::{test.test}" for row in rows for test in row if not _of_peer(test))
    return sorted(set(names))


def _row(*cells: str, head: bool = False) -> list[str]:
    """The lines of a row."""
    return [f"| {' | '.join(cells)} |", *([f"|{' --- |' * len(cells)}"] if head else [])]


def main() -> None:
    """Writes the page and prints its path, or prints `tests`."""
    if sys.argv[1:] == ["--tests"]:
        print(*tests(), sep="\n")
    else:
        print(json_files.write_bytes(PAGE, page().encode()))


def _of_peer(test: Evidence) -> bool:
    return test.file.startswith("tests/peers/")


def _ran(tests: str, record: Config, *names: str) -> str:
    """What the last run of tests was. names: packages whose versions are stated."""
    packages = ", ".join(f"{name} {record['versions'][name]}" for name in names)
    skipped = f", {record['skipped']} skipped" if record["skipped"] else ""
    note = f" {record['note']}." if record.get("note") else ""
    return (
        f"The tests {tests} last ran on {record['date']} with {packages}: {record['passed']} passed, "
        f"{record['failed']} failed{skipped}.{note}"
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


def _shown(tests: tuple[Evidence, ...], passed: Collection[str]) -> str:
    return ", ".join(_link(test, passed) for test in tests) or "not tested"


def _link(test: Evidence, passed: Collection[str]) -> str:
    """A link, with when it runs, and for one of peers whether it passed."""
    path = ROOT / test.file
    defined = {name: slow for name, _, slow in faults_page.defined(path)}
    if test.test not in defined:
        raise ValueError(f"{test.file} has no {test.test}, which a row of {Path(__file__).name} names")
    texts = [(ROOT / file).read_text(encoding="utf-8") for file in (test.file, *TABLES)]
    if test.case and not any(f'"{test.case}"' in text for text in texts):
        raise ValueError(f"{test.file} has no case {test.case!r}, which a row of {Path(__file__).name} names")
    all_cases = f"{test.file}::{test.test}"
    name = f"{all_cases}[{test.case}]" if test.case else all_cases
    # a table of cases may be one test
    recorded = any(each in (name, all_cases) or each.startswith(f"{all_cases}[{test.case}-") for each in passed)
    if _of_peer(test):
        when = f" (peers, {'passed' if recorded else 'not in the last run'})"
    elif recorded:
        when = " (*slow*)" if defined[test.test] else ""
    else:
        raise ValueError(f"{name} has not passed in the run of {RECORD.name}: run make test-supported")
    return f"[{Path(test.file).stem}](../../../{test.file}){when}"


if __name__ == "__main__":
    main()
