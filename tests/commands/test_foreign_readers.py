"""Every reader of a file that a stranger may have written refuses what is no such file, and never waits for it."""

import os

import pytest

from gendiff import language, weights
from gendiff.commands import command_line
from gendiff.commands.scaling_fit import csv_points
from gendiff.commands.tune import rows
from gendiff.commands.tune.config import Config
from gendiff.core import npz
from gendiff.core.errors import DataError
from gendiff.data import tokenizer
from gendiff.data.images import caption_files
from gendiff.data.texts import clip_tokenizer
from gendiff.provenance import watermark_files
from gendiff.runs import shards
from gendiff.runs.reporting import results
from gendiff.weights import files, gguf, streamed, torch_archive
from tests.tables import table

READERS = {
    "config.json": lambda file: files.load_config(file.parent),
    "x.safetensors": files.load,
    "y.safetensors": streamed.open_file,
    "x.gguf": gguf.load,
    "x.pt": torch_archive.load,
    "x.npz": lambda file: npz.guarded(file, lambda: npz.read(npz.existing(file, ".npz"), ["a"])),
    "tokenizer.json": language.tokens.load,
    "encoder.json": lambda file: tokenizer.load(file, 77),
    "tokenizer_config.json": lambda file: clip_tokenizer.load(file.parent),
    "adapter_config.json": lambda file: weights.lora_files.load(file.parent, {}),
    "metadata.jsonl": lambda file: caption_files.read([file.with_name("1.png")]),
    "mark.json": watermark_files.load,
    "points.csv": csv_points.read,
    "rows.jsonl": lambda file: rows.read(Config(data=str(file))),
    "results.json": results.read,
    "manifest.json": lambda file: shards.existing(file.parent),
}
MISTAKES = {
    "a pipe": os.mkfifo,
    "a device": lambda file: file.symlink_to("/dev/zero"),
    "nested lists": lambda file: file.write_text('{"a": ' + "[" * 99_999 + "]" * 99_999 + "}"),
    "a long integer": lambda file: file.write_text('{"a": 1' + "0" * 9999 + "}"),
}


@pytest.mark.fault("files: a folder, a pipe or a device in place of a file", "files: JSON that is none, or too deep")
@table("name, kind", [(name, kind) for name in READERS for kind in MISTAKES])
def test_what_is_no_such_file_is_refused_by_its_path(tmp_path, name, kind):
    MISTAKES[kind](tmp_path / name)
    with pytest.raises(DataError, match=f"^{tmp_path}"):
        READERS[name](tmp_path / name)


@pytest.mark.fault("command line: a path of a user whom there is not")
@table(
    "words",
    [
        "verify ~nosuch/x.png",
        "inspect ~nosuch",
        "chat --model ~nosuch --prompt x",
        "text-to-image --prompt x --model ~nosuch",
        "data-report ~nosuch",
        "copies ~nosuch --train ~nosuch",
        "scaling-fit --data x.csv --out ~nosuch",
        "train ~nosuch",
    ],
)
def test_a_path_of_a_user_whom_there_is_not_is_refused(words, capsys):
    assert command_line.main(words.split(), {}) == 2
    assert "~nosuch" in (message := capsys.readouterr().err) and "knows no user of that name" in message
