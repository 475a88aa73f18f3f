"""The command `verify`: what a file says of itself, and what it carries."""

from pathlib import Path

from gendiff.commands.verify import picture_evidence, text_evidence, verify_options
from gendiff.commands.verify.verify_options import VerifyOptions
from gendiff.core.errors import ConfigError
from gendiff.data import text
from gendiff.data.images import image_files
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue

P_VALUES = (
    "A p-value is the chance that a file which was made without this key fits it as well. It is not the chance that "
    "the file is unmarked: where marked files are rare, most files with p = 0.01 are unmarked. A large p says nothing: "
    "the file may be unmarked, changed, or too short."
)


def call(options: VerifyOptions, catalogue: Catalogue, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit, DataError for files that cannot be read, and marks of another
    shape or vocabulary.
    """
    path = verify_options.path(options)
    suffix = path.suffix.lower()
    if suffix in image_files.SUFFIXES:
        if options.model is not None:
            raise ConfigError("--model names the tokens of texts, and this is a picture: leave it out")
        lines = [
            *picture_evidence.lines(path),
            *(line for mark in options.mark for line in picture_evidence.watermark(path, Path(mark))),
        ]
    elif suffix in text.SUFFIXES:
        lines = ["metadata: a text file has no place for any"]
        if options.mark:
            tokenizer = text_evidence.tokenizer(options.model)
            lines += [line for mark in options.mark for line in text_evidence.watermark(path, Path(mark), tokenizer)]
    else:
        raise ConfigError(
            f"{path}: pictures ({', '.join(image_files.SUFFIXES)}) and texts ({', '.join(text.SUFFIXES)}) can be "
            "verified"
        )
    print(f"{path}")
    for line in lines:
        print(line)
    if options.mark:
        print(P_VALUES)
    print(
        "What is absent proves nothing: most programs and sites strip metadata and manifests, and anybody can write "
        "them.",
        flush=True,
    )
