"""A Hugging Face dataset that `Dataset.save_to_disk` has written, opened for random access. Nothing is downloaded."""

import dataclasses
import importlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from gendiff.core import checks, extras
from gendiff.core.errors import DataError
from gendiff.core.types import NO_LABEL
from gendiff.data.images import image_files, random_access
from gendiff.data.images.random_access import Source

if TYPE_CHECKING:
    import datasets


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SavedDataset(Source):
    """The images of a saved dataset, each decoded when it is read. `source` builds it."""

    path: Path
    table: "datasets.Dataset"
    column: str
    mode: str
    size: int | None
    background: tuple[int, int, int] | None

    def image(self, i: int) -> np.ndarray:
        """Decode image i, uint8 (h, w, c)."""
        content = self.table[i][self.column]
        if not content or content["bytes"] is None:
            raise DataError(
                f"{self.name(i)}: the dataset holds no bytes for it, only a path or nothing; save it with its pictures "
                "inside"
            )
        return image_files.decode(
            self.name(i), content["bytes"], mode=self.mode, size=self.size, background=self.background
        )

    def short_side(self, i: int) -> int | None:
        """The shorter side of image i, from the header of its bytes."""
        content = self.table[i][self.column]
        return image_files.short_side(io.BytesIO(content["bytes"])) if content and content["bytes"] else None

    def name(self, i: int) -> str:
        """The path and the row of image i."""
        return f"{random_access.printable(self.path)}: row {i}"


def recognises(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk`, of a dataset or of a dictionary of splits.

    DataError for one that may not be read.
    """
    there = {
        name: random_access.status(folder / name) is not None
        for name in ("dataset_dict.json", "state.json", "dataset_info.json")
    }
    return there["dataset_dict.json"] or (there["state.json"] and there["dataset_info.json"])


def source(
    path: str | os.PathLike[str],
    *,
    size: int | None = None,
    mode: str = "RGB",
    background: tuple[int, int, int] | None = None,
    on_bad: str = "raise",
    conditional: str = "auto",
) -> SavedDataset:
    """Open a saved dataset with exactly one column of images.

    Args:
        path: the folder. Of a dictionary of splits, the folder of one split.
        size: the side of the square images, or None; `image_files.read` states how they are resized and cropped.
        mode: "RGB" for 3 channels, "L" for 1.
        background: the colour under transparent pixels.
        on_bad: "raise" or "skip", for bad pictures in `random_access.scan`.
        conditional: "auto" uses the one column of class labels, if there is one with 2 classes or more; "none" gives
            NO_LABEL.

    Raises:
        DataError: path first, for a folder of splits, another number of image columns, several columns of labels, a
            damaged dataset.
        ImportError: without datasets.
    """
    image_files.check_options(mode, size, background)
    image_files.check_installed()
    checks.choice("on_bad", on_bad, random_access.ON_BAD)
    checks.choice("conditional", conditional, random_access.CONDITIONAL)
    folder = Path(path)
    name = random_access.printable(folder)
    datasets = _module()
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        raise DataError(f"{name}: holds the splits {', '.join(splits)}; pass the folder of one of them")
    try:
        table = datasets.load_from_disk(str(folder))
        content = [random_access.file_digest(part["filename"]) for part in table.cache_files]
        column = _column(name, table.features, datasets.Image)
        labels, classes = (
            _labels(name, table, datasets.ClassLabel) if conditional == "auto" else (np.full(len(table), NO_LABEL), ())
        )
        table = table.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    except DataError:
        raise
    except Exception as error:  # pyarrow and datasets raise whatever they trip over
        raise DataError(
            f"{name}: not a whole dataset written by save_to_disk: {type(error).__name__}: {error}"
        ) from error
    if not len(table):
        raise DataError(f"{name}: holds no rows")
    used_labels, classes = random_access.labelled(labels, classes, conditional)
    return SavedDataset(
        labels=used_labels,
        classes=classes,
        fingerprint=random_access.fingerprint("saved_dataset", mode, size, background, classes, column, *content),
        on_bad=on_bad,
        path=folder,
        table=table,
        column=column,
        mode=mode,
        size=size,
        background=background,
    )


def _module() -> ModuleType:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise ImportError(extras.needs("saved Hugging Face datasets need", "datasets", "data")) from error


def _column(name: str, features: Mapping[str, object], kind: type) -> str:
    images = [column for column, feature in features.items() if isinstance(feature, kind)]
    if len(images) != 1:
        raise DataError(
            f"{name}: has {len(images)} columns of images among {', '.join(features)}; exactly one is needed: cast or "
            "remove columns"
        )
    return images[0]


def _labels(name: str, table: "datasets.Dataset", kind: type) -> tuple[np.ndarray, tuple[str, ...]]:
    columns = [column for column, feature in table.features.items() if isinstance(feature, kind)]
    if len(columns) > 1:
        raise DataError(
            f'{name}: has class labels in {", ".join(columns)}; remove all but one, or pass conditional="none"'
        )
    if not columns:
        return np.full(len(table), NO_LABEL), ()
    classes = tuple(table.features[columns[0]].names)
    labels: np.ndarray = np.array([NO_LABEL if label is None else label for label in table[columns[0]]], np.int64)
    if len(labels) and (labels.min() < NO_LABEL or labels.max() >= len(classes)):
        raise DataError(f"{name}: labels lie in {labels.min()}…{labels.max()}, but there are {len(classes)} classes")
    return labels, classes
