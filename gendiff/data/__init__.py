"""Data: real images as arrays in [-1, 1], texts as tokens, and batches that are a pure function of (seed, step)."""

from typing import TYPE_CHECKING

from gendiff.core.first_use import on_first_use

if TYPE_CHECKING:
    from gendiff.data import audio, batches, clip_files, digits, emoji, emoji_names, emoji_styles, scaling, textures
    from gendiff.data.images import (
        Images,
        array_records,
        cache,
        caption_files,
        held_out,
        image_files,
        image_folder,
        numpy_files,
        pipeline,
        random_access,
        saved_datasets,
        sources,
    )
    from gendiff.data.texts import chat_row_tokenizer, clip_tokenizer, t5_tokenizer, text, tokenizer

__all__ = [
    "Images",
    "array_records",
    "audio",
    "batches",
    "cache",
    "chat_row_tokenizer",
    "caption_files",
    "clip_files",
    "clip_tokenizer",
    "digits",
    "emoji",
    "emoji_names",
    "emoji_styles",
    "random_access",
    "held_out",
    "image_files",
    "image_folder",
    "numpy_files",
    "pipeline",
    "saved_datasets",
    "scaling",
    "sources",
    "t5_tokenizer",
    "text",
    "textures",
    "tokenizer",
]

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "": "audio batches clip_files digits emoji emoji_names emoji_styles scaling textures",
        "images": "array_records cache caption_files held_out image_files image_folder numpy_files pipeline "
        "random_access saved_datasets sources",
        "texts": "chat_row_tokenizer clip_tokenizer t5_tokenizer text tokenizer",
    },
    {"images": "Images"},
)
