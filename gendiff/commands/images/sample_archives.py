"""`finalize SAMPLES`: one file of the samples that `sample --shard-size` wrote."""

import dataclasses
import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gendiff.commands.images import sample_files
from gendiff.core import files
from gendiff.core.errors import ConfigError
from gendiff.data import array_records
from gendiff.data.images import image_files
from gendiff.data.images.random_access import Example
from gendiff.runs import shards
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Command
from gendiff.runs.reporting import formatting
from gendiff.runs.shards import Shards


@dataclasses.dataclass(frozen=True)
class FinalizeOptions:
    """Make one file of the samples of a folder."""

    to: str
    """File to write: NAME.npz (arr_0, uint8 NHWC, and the labels arr_1), NAME.tar (one PNG per sample) or
    NAME.arrayrecord.
    """


def finalize(samples: Shards, options: FinalizeOptions, progress: Progress) -> None:
    """Raises ConfigError for another ending, DataError where a shard is not complete; then nothing is written."""
    out = Path(options.to).expanduser().absolute()
    if out.suffix not in _WRITERS:
        raise ConfigError(f"--to {options.to}: give a name that ends in {', '.join(_WRITERS)}")
    if not out.parent.is_dir():
        raise ConfigError(f"--to {options.to}: there is no folder {out.parent}")
    shards.check_complete(samples, read=False)
    _WRITERS[out.suffix](samples, out)
    progress.line(f"{formatting.amount(samples.manifest.num, 'sample')}: {out}")


COMMAND = Command(FinalizeOptions, finalize)


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


_WRITERS: dict[str, Callable[[Shards, Path], None]] = {
    ".npz": shards.write_npz,
    ".tar": _write_tar,
    array_records.SUFFIX: _write_array_record,
}
