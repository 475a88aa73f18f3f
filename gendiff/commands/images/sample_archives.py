"""`finalize SAMPLES`: one file of the samples that `sample --shard-size` wrote."""

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gendiff.commands.images import sample_files
from gendiff.commands.images.sampling_options import ENDINGS, FinalizeOptions
from gendiff.core import files, foreign_files
from gendiff.data import array_records
from gendiff.data.images import image_files
from gendiff.data.images.random_access import Example
from gendiff.runs import shards
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import formatting
from gendiff.runs.shards import Shards


def finalize(samples: Shards, options: FinalizeOptions, progress: Progress) -> None:
    """Raises DataError where a shard is not complete; then nothing is written."""
    out = foreign_files.expanded(options.to).absolute()
    shards.check_complete(samples, read=False)
    _WRITERS[out.suffix](samples, out)
    progress.line(f"{formatting.amount(samples.manifest.num, 'sample')}: {out}")


class Examples(Sequence[Example]):
    """The samples one by one, with the shard of the last one in memory."""

    def __init__(self, shards: Shards) -> None:
        self._shards, self._number = shards, -1

    def __len__(self) -> int:
        return self._shards.manifest.num

    def __getitem__(self, index: Any) -> Any:  # a slice is asked of no `Examples`, and would need two overloads
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        number, row = divmod(index, self._shards.manifest.shard_size)
        if number != self._number:
            self._number, self._arrays = number, self._shards.read(number)
        return Example(*(array[row] for array in self._arrays))


def _write_tar(samples: Shards, out: Path) -> None:
    with files.replacing(out) as file, tarfile.open(fileobj=file, mode="w") as archive:
        for index, (image, label) in enumerate(Examples(samples)):
            name = f"{sample_files.name(index, int(label), samples.manifest.classes)}.png"
            content = image_files.to_png(name, image)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def _write_array_record(samples: Shards, out: Path) -> None:
    array_records.write(out, Examples(samples), classes=samples.manifest.classes)


_WRITERS: dict[str, Callable[[Shards, Path], None]] = dict(
    zip(ENDINGS, (shards.write_npz, _write_tar, _write_array_record), strict=True)
)
