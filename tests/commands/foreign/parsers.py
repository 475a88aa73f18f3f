"""The parsers of files and requests that strangers write: of each a valid example, how it is read, and which of its
files change.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.numpy
from PIL import Image

from gendiff import language
from gendiff.commands.scaling_fit import csv_points
from gendiff.commands.serve import edit_requests, image_requests, text_requests
from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.tune import rows
from gendiff.commands.tune.config import Config
from gendiff.core import npz
from gendiff.core.errors import GendiffError
from gendiff.data import audio, chat_row_tokenizer, clip_files, sources, t5_tokenizer, tokenizer
from gendiff.data.images import array_records, caption_files
from gendiff.data.texts import clip_tokenizer
from gendiff.metrics import statistics_files
from gendiff.provenance import declared_rights, image_watermarks, metadata, text_watermarks, watermark_files
from gendiff.runs import configuration, run_lock
from gendiff.runs.run_folder import RunFolder
from gendiff.weights import files, gguf, lora_files, streamed, torch_archive
from tests.commands.foreign import model_files
from tests.commands.serve import test_edit_requests, test_image_requests, test_text_requests
from tests.data.audio import test_sound_folder
from tests.data.texts import test_tokenizer
from tests.pipelines.stable_diffusion import (
    tiny_chat_tokenizer,
    tiny_folders,
    tiny_t5_tokenizer,
)
from tests.provenance import test_declared_rights
from tests.runs import test_results, test_run_folder, test_shards
from tests.weights import test_streamed
from tests.weights.quantised import gguf_files, test_gguf, test_gguf_llama
from tests.weights.transformers.tiny_language_models import CONFIGS

PIXELS = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
HEAD = 3000
"""Bytes that change at the beginning of files whose rest is numbers."""


class Parser(NamedTuple):
    """A parser of strangers' files.

    Attributes:
        write: the valid files, into a folder that is there.
        read: them, from the folder.
        files: those that change.
        head: how many of their first bytes; None all.
        errors: by which it may refuse them.
    """

    write: Callable[[Path], object]
    read: Callable[[Path], object]
    files: tuple[str, ...]
    head: int | None = None
    errors: tuple[type[Exception], ...] = (GendiffError,)


def content(**by_name: bytes | str) -> Callable[[Path], None]:
    """Write files of these names, with "_" in place of the point before the ending."""

    def write(folder: Path) -> None:
        for name, each in by_name.items():
            path = folder / ".".join(name.rsplit("_", 1))
            path.write_bytes(each if isinstance(each, bytes) else each.encode())

    return write


def stored(**by_name: object) -> Callable[[Path], None]:
    """Write such files of JSON; a list is one of lines."""
    return content(
        **{
            name: "".join(f"{json.dumps(line)}\n" for line in value) if isinstance(value, list) else json.dumps(value)
            for name, value in by_name.items()
        }
    )


def first_of(read: Callable[[Path], object], *names: str, write: Callable[[Path], object], **more: object) -> Parser:
    """A parser of the first of some files."""
    return Parser(write, lambda folder: read(folder / names[0]), names, **more)  # type: ignore[arg-type]


# Folders of models.


def of_folder(name: str) -> Parser:
    """Every file of a tiny folder."""
    parts = tiny_folders.FOLDERS[name][2]
    texts = {
        "CLIPTokenizer": ("vocab.json", "merges.txt", "tokenizer_config.json"),
        **dict.fromkeys(("T5Tokenizer", "Qwen2Tokenizer"), ("tokenizer.json", "tokenizer_config.json")),
    }
    listed = ["model_index.json"]
    for part, settings in parts.items():
        kind = tiny_folders.kind_of(settings)
        stem = "model" if part.startswith("text") else files.STEM
        listed += [f"{part}/{file}" for file in texts.get(kind, ("config.json", f"{stem}.safetensors"))]
    changed = tuple(file.replace("scheduler/config", "scheduler/scheduler_config") for file in listed)
    changed = tuple(file for file in changed if file != f"scheduler/{files.STEM}.safetensors")
    return Parser(lambda folder: tiny_folders.write(folder, name), model_files.model, changed, HEAD)


# Texts.


def words(path: Path) -> None:
    tokens = language.tokens.load(path)
    tokens.decode(tokens.encode("a cat: é"))


def write_words(folder: Path) -> None:
    language.tokens.plain().special_library.save(str(folder / "tokenizer.json"))
    stored(tokenizer_config_json={"chat_template": "{{ 1 }}", "eos_token": language.tokens.END_OF_TEXT})(folder)


def write_encoder(folder: Path) -> None:
    content(tokenizer_json=test_tokenizer.bert_file().read_bytes())(folder)


CONVERSATION = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]
ROWS = [{"messages": CONVERSATION, "prompt": f"{n}?", **rows.SUMS[n], "reward": "number"} for n in range(5)]


def trained_on(method: str) -> Parser:
    """Rows of `tune`."""
    lines = ROWS[:2] + [{name: row[name] for name in row if name != "messages"} for row in ROWS[2:]]
    return first_of(
        lambda file: rows.read(Config(data=str(file), method=method)), "rows.jsonl", write=stored(rows_jsonl=lines)
    )


# What runs leave.


def metrics(folder: Path) -> None:
    run = RunFolder(folder)
    run.read_metrics()
    run.check_metrics(0, 3, 1)


def shard(folder: Path) -> None:
    stored_shards = test_shards.shards.existing(folder)
    test_shards.shards.check_complete(stored_shards)
    list(stored_shards)


RESOLVED = configuration.Resolved("toy", "full", False, {"steps": 3, "data": None, "method": "sft"}, "a" * 40, False)


def restored(folder: Path) -> None:
    run = RunFolder(folder)
    configuration.restore(configuration.read(run), Config, run)


# Pictures, sounds and clips.


def pictures(folder: Path) -> None:
    opened = sources.open(folder, size=4, mode="RGB", background=(0, 0, 0))
    for number in range(len(opened)):
        opened[number]


def write_pictures(folder: Path) -> None:
    for suffix in ("png", "jpg", "gif", "webp", "bmp"):
        Image.fromarray(PIXELS).save(folder / f"x.{suffix}")
    Image.fromarray(np.dstack([PIXELS, PIXELS[..., :1]])).save(folder / "alpha.png")


def write_arrays(folder: Path) -> None:
    images, labels = np.stack([PIXELS, PIXELS]), np.array([0, 1])
    np.savez(folder / "x.npz", images=images, labels=labels)
    np.save(folder / "y.npy", images)
    array_records.write(folder / "z.arrayrecord", [(PIXELS, 0), (PIXELS, 1)], classes=("a", "b"))


def sounds(folder: Path) -> None:
    opened = sources.open(folder, spectrogram=audio.Spectrogram(8000, 16, 8))
    opened[0]
    for file in folder.iterdir():
        audio.sound_files.tags(file)


def write_sounds(folder: Path) -> None:
    for suffix, subtype in (("wav", "PCM_16"), ("flac", "PCM_16"), ("ogg", "VORBIS")):
        test_sound_folder.put(folder / f"x.{suffix}", subtype=subtype)


def write_clips(folder: Path) -> None:
    clip = np.linspace(-1, 1, 3 * 4 * 6, dtype=np.float32).reshape(3, 4, 6, 1)
    for suffix in ("gif", "webp"):
        clip_files.write_clip(folder / f"x.{suffix}", clip)


XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" dc:rights="mine"><dc:creator><rdf:Seq><rdf:li>A</rdf:li>
</rdf:Seq></dc:creator></rdf:Description></rdf:RDF></x:xmpmeta>"""


def write_declared(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x8298], exif[0x013B] = "Copyright A", "A"
    options = {"exif": exif, "comment": 'gendiff {"seed": 1}', "xmp": XMP.encode()}
    Image.fromarray(PIXELS).save(folder / "x.jpg", **options)
    metadata.save(folder / "y.png", PIXELS, {"seed": 1, "prompt": "a"})


def write_signed(folder: Path) -> None:
    test_declared_rights.signed(folder / "x.png", {"entries": {"cawg.ai_training": {"use": "notAllowed"}}})


def write_statistics(folder: Path) -> None:
    np.savez(folder / "x.npz", mu=np.zeros(2), sigma=np.eye(2), arr_0=np.stack([PIXELS] * 2))


def statistics(file: Path) -> None:
    list(statistics_files.read_batches(file, 2))
    statistics_files.load(file)


# Requests.

IMAGE = {
    **{"prompt": "a cat", "n": 2, "size": "32x32", "stream": True, "partial_images": 2, "quality": "hd", "user": "u"},
    **{"negative_prompt": "b", "steps": 9, "guidance": 2.5, "seed": 3},
}
TEXT = {
    **{"n": 1, "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 5, "temperature": 0.5},
    **{"top_p": 0.9, "stop": ["a"], "seed": 1, "user": "u", "tools": []},
}
CHAT = TEXT | {"messages": [*CONVERSATION, {"role": "user", "content": [{"type": "text", "text": "a"}]}]}
CHAT |= {"logprobs": True, "top_logprobs": 2}
FORM = test_edit_requests.form(
    {
        "prompt": "a cat",
        "image": test_edit_requests.png(),
        "mask": test_edit_requests.mask(),
        "n": "2",
        "strength": "0.5",
    }
)


def request(read: Callable[[bytes], object], example: object) -> Parser:
    """Of a body."""
    return first_of(
        lambda file: read(file.read_bytes()), "body.json", write=stored(body_json=example), errors=(ApiError,)
    )


PARSERS: dict[str, Parser] = {
    "safetensors": first_of(
        lambda file: (files.load(file), files.header(file)),
        "x.safetensors",
        write=content(x_safetensors=safetensors.numpy.save(model_files.ARRAYS, {"format": "pt"})),
    ),
    "safetensors of 8 bits with scales": first_of(
        lambda file: model_files.all_of(streamed.open_file(file)),
        "x.safetensors",
        write=lambda folder: test_streamed.written(
            folder / "x.safetensors",
            model_files.ARRAYS | {"c.weight": test_streamed.E4M3, "c.scale_weight": np.array(2, np.float32)},
        ),
    ),
    "safetensors in parts": Parser(
        model_files.write_parts,
        lambda folder: model_files.all_of(streamed.open_folder(folder, "m")),
        ("a.safetensors", "m.safetensors.index.json"),
    ),
    "GGUF": first_of(
        lambda file: model_files.all_of(gguf.load(file).arrays()),
        "x.gguf",
        write=content(x_gguf=test_gguf.WHOLE),
        head=400,
    ),
    "files of torch": Parser(
        model_files.write_torch,
        lambda folder: model_files.all_of(torch_archive.load(folder / "x.pt") | torch_archive.load(folder / "y.pt")),
        ("x.pt", "y.pt"),
    ),
    "LoRA": first_of(
        model_files.lora,
        f"{lora_files.STEM}.safetensors",
        write=lambda folder: model_files.write_lora(folder, header=True),
    ),
    "LoRA of peft": Parser(
        lambda folder: model_files.write_lora(folder, header=False),
        model_files.lora,
        (lora_files.SETTINGS, f"{lora_files.STEM}.safetensors"),
    ),
    "LoRA of a transformer": first_of(
        model_files.lora_of_transformer, "x.safetensors", write=model_files.write_lora_of_transformer
    ),
    **{
        f"folder of diffusers, {name}": of_folder(name)
        for name in ("stable", "inpaint", "xl", "refiner", "flux", "sd3", "z_image", "flux_2", "dit")
    },
    "single file": Parser(
        model_files.write_single,
        lambda folder: model_files.model(folder / "model", weights=folder / "model.safetensors"),
        ("model.safetensors",),
        HEAD,
    ),
    **{
        f"transformer in one file, {ending}": Parser(
            model_files.write_transformer,
            lambda folder, ending=ending: model_files.model(folder / "model", weights=folder / f"model.{ending}"),  # type: ignore[misc]
            (f"model.{ending}",),
            HEAD,
        )
        for ending in ("safetensors", "gguf")
    },
    "ControlNet": Parser(
        model_files.write_control,
        model_files.control,
        ("control/config.json", f"control/{files.STEM}.safetensors"),
        HEAD,
    ),
    **{
        f"language model, {name}": Parser(
            functools.partial(model_files.write_language_model, CONFIGS[name]),
            model_files.language_model,
            ("config.json",),
        )
        for name in ("Llama 3", "Mistral", "Qwen 3 with some windows", "Gemma 2", "Gemma 3 of transformers 5", "GPT-2")
    },
    "language model in GGUF": first_of(
        model_files.language_model,
        "x.gguf",
        write=content(x_gguf=gguf_files.gguf_bytes(test_gguf_llama.METADATA, test_gguf_llama.TABLE)),
        head=900,
    ),
    **{
        f"language model in GGUF, {name}": first_of(
            model_files.language_model, "x.gguf", write=functools.partial(model_files.write_converted, name), head=1500
        )
        for name in ("Qwen 2", "Qwen 3", "Gemma 2", "Gemma 3")
    },
    "tokenizer.json": Parser(write_words, words, ("tokenizer.json", "tokenizer_config.json")),
    "chat template": Parser(
        lambda folder: stored(
            tokenizer_config_json={"chat_template": [{"name": "default", "template": "{{ 1 }}"}], "eos_token": "</s>"},
            tokenizer_json={"added_tokens": [{"content": "</s>", "special": True}]},
        )(folder),
        language.chat_template.load,
        ("tokenizer_config.json", "tokenizer.json"),
    ),
    "tokenizer.json of an encoder": first_of(
        lambda file: tokenizer.load(file, 9)(["a red circle"]), "tokenizer.json", write=write_encoder
    ),
    "tokenizer of CLIP": Parser(
        tiny_folders.write_tokenizer, clip_tokenizer.load, ("vocab.json", "merges.txt", "tokenizer_config.json")
    ),
    "tokenizer of T5": Parser(
        tiny_t5_tokenizer.write,
        lambda folder: t5_tokenizer.load(folder, 20),
        ("tokenizer.json", "tokenizer_config.json"),
    ),
    "tokenizer of chats": Parser(
        tiny_chat_tokenizer.write,
        lambda folder: chat_row_tokenizer.load(folder, 20, "<|im_start|>", "<|im_end|>"),
        ("tokenizer.json", "tokenizer_config.json"),
    ),
    **{f"rows of tune, {method}": trained_on(method) for method in rows.ANSWERS},
    "captions": first_of(
        lambda file: caption_files.read([file.with_name("1.png")]),
        "metadata.jsonl",
        write=stored(metadata_jsonl=[{"file_name": f"{n}.png", "text": "a cat"} for n in (1, 2)]),
    ),
    "watermark of texts": first_of(
        watermark_files.load,
        "mark.json",
        write=lambda folder: watermark_files.save(
            folder / "mark.json", text_watermarks.green_list(7, vocabulary=50, gamma=0.5, delta=2.0, width=1)
        ),
    ),
    "watermark of pictures": first_of(
        watermark_files.load_image,
        "mark.json",
        write=lambda folder: watermark_files.save(
            folder / "mark.json", image_watermarks.tree_ring(7, shape=(8, 8, 4), radius=2, channel=1)
        ),
    ),
    "CSV of scaling-fit": first_of(
        csv_points.read,
        "points.csv",
        write=content(points_csv='Params (N),tokens,val loss,note\n1e6,2e7,4.1,a\n2e6,4e7,3.8,"b, c"\n4e6,8e7,3.5,\n'),
    ),
    "results.json": first_of(
        test_results.results.read,
        "results.json",
        write=lambda folder: test_results.results.write(test_results.results_of(), folder),
    ),
    "metrics.jsonl": Parser(stored(metrics_jsonl=test_run_folder.LINES), metrics, ("metrics.jsonl",)),
    "config.json of a run": Parser(
        lambda folder: configuration.settle(RunFolder(folder), RESOLVED), restored, ("config.json",)
    ),
    "shards": Parser(test_shards.fill, shard, ("manifest.json", "shard_000000.json", "shard_000001.npz")),
    "lock": Parser(
        stored(**{".run_owner": {"host": "a", "pid": 1, "start": "2026", "machine": "b"}}),
        run_lock.running,
        (".run.owner",),
    ),
    "pictures": Parser(write_pictures, pictures, ("x.png", "x.jpg", "x.gif", "x.webp", "x.bmp", "alpha.png")),
    "NumPy and ArrayRecord": Parser(
        write_arrays,
        lambda folder: [sources.open(folder / name)[1] for name in ("x.npz", "y.npy", "z.arrayrecord")],
        ("x.npz", "y.npy", "z.arrayrecord"),
    ),
    "sounds": Parser(write_sounds, sounds, ("x.wav", "x.flac", "x.ogg"), 400),
    "clips": Parser(
        write_clips,
        lambda folder: [clip_files.read_clip(folder / name, mode="L") for name in ("x.gif", "x.webp")],
        ("x.gif", "x.webp"),
    ),
    "declared rights": Parser(
        write_declared,
        lambda folder: [declared_rights.read(folder / name, credentials=False) for name in ("x.jpg", "y.png")],
        ("x.jpg", "y.png"),
    ),
    "content credentials": first_of(declared_rights.read, "x.png", write=write_signed),
    "statistics": first_of(statistics, "x.npz", write=write_statistics),
    "npz": first_of(
        lambda file: npz.guarded(file, lambda: npz.read(npz.existing(file, ".npz"), ["mu"])),
        "x.npz",
        write=write_statistics,
    ),
    "requests for pictures": request(lambda body: image_requests.read(body, test_image_requests.LIMITS), IMAGE),
    "requests of chats": request(
        lambda body: text_requests.read(text_requests.CHAT, body, test_text_requests.LIMITS), CHAT
    ),
    "requests for texts": request(
        lambda body: text_requests.read(text_requests.COMPLETIONS, body, test_text_requests.LIMITS),
        TEXT | {"prompt": ["a", "b"], "logprobs": 2},
    ),
    "requests with a picture": first_of(
        lambda file: edit_requests.read(test_edit_requests.KIND, file.read_bytes(), test_edit_requests.LIMITS),
        "form.bin",
        write=content(form_bin=FORM),
        errors=(ApiError,),
    ),
}
