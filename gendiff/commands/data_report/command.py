"""The command `data-report`: opens the pictures of a folder or of a run, and leaves a page, figures and hashes."""

import dataclasses
from pathlib import Path

import numpy as np

from gendiff.commands.copies import copies_page, picture_sets
from gendiff.commands.copies.picture_sets import PictureSet
from gendiff.commands.data_report import contents
from gendiff.commands.data_report.contents import Contents, Repeats, Sets
from gendiff.commands.data_report.data_report_options import DataReportOptions
from gendiff.commands.images import image_features
from gendiff.commands.train import data_paths, facts, opened_pictures
from gendiff.commands.train.config import Config
from gendiff.commands.train.opened_pictures import COMMITTED_SIZE
from gendiff.core import foreign_files
from gendiff.core.errors import ConfigError
from gendiff.data import textures
from gendiff.data.images.random_access import Source, Subset
from gendiff.runs import configuration, run_folder, runner
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue
from gendiff.runs.reporting import html_pages, json_files

JSON, PAGE, HASHES = "data_report.json", "data_report.html", "data_hashes.txt"
OF_RUN = ("size", "mode", "background", "held_out")
"""Options that a run has answered."""


def call(options: DataReportOptions, catalogue: Catalogue, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit, DataError for pictures of which none can be read."""
    path = foreign_files.expanded(options.data)
    if (path / "config.json").is_file():
        _of_run(path, options, progress)
        return
    out = run_folder.for_findings("runs/data-report" if options.out is None else options.out, JSON)
    sets = _sets(options.data, _config(options), progress, options.held_out)
    _write(contents.summarize(sets, options.near, progress), sets, options, out)


def _of_run(path: Path, options: DataReportOptions, progress: Progress) -> None:
    if foreign := [name for name in OF_RUN if getattr(options, name) is not None]:
        raise ConfigError(f"--{foreign[0].replace('_', '-')} belongs to DATA: a run has its own")
    folder = run_folder.existing(path, writable=options.out is None)
    stored = configuration.read(folder)
    if stored.experiment != "images":
        raise ConfigError(f"{path} is a run of {stored.experiment}, whose data is no set of files: give DATA instead")
    config = configuration.restore(stored, Config, folder)
    if config.model is not None:
        raise ConfigError(f"{path} learned a change of {config.model} from {config.data[0]}: give that folder")
    for entry, (name, within) in zip(config.data, facts.places(config, folder), strict=True):
        out = within.path
        if options.out is not None:
            target = Path(options.out) if len(config.data) == 1 else Path(options.out, name)
            out = run_folder.for_findings(target, JSON)
        sets, data = _sets(entry, config, progress, of_run=True), facts.read(within).data
        result = contents.summarize(sets, options.near, progress, str(path), config.network)
        if result.fingerprint != data.fingerprint:
            progress.line(f"note: {entry} has changed since the run began: the report is of what is there now")
        _write(result, sets, options, out)
    if options.out is None and folder.results.is_file():
        runner.rewrite_report(folder, {})


def _config(options: DataReportOptions) -> Config:
    return Config(
        data=(options.data,),
        size=options.size,
        mode=options.mode,
        background=options.background,
        on_bad_image="skip",
    )


def _sets(entry: str, config: Config, progress: Progress, held_out: str | None = None, *, of_run: bool = False) -> Sets:
    """The pictures of an entry of `data`. Raises as `opened_pictures.open_pictures` and `picture_sets.read` do."""

    def read(title: str, location: str, source: Source | None = None) -> PictureSet:
        if source is None:
            opened_pictures.check_apart(location, None)
            with image_features.option_errors():
                source = opened_pictures.listed(config, location)
        return picture_sets.read(title, location, source, opened_pictures.small, progress)

    def part(source: Source) -> PictureSet:
        rows = source.rows if isinstance(source, Subset) else slice(None)
        return dataclasses.replace(pictures, source=source, rows=pictures.rows[rows])

    path = data_paths.resolve(entry)
    if path == "textures":
        if held_out is not None:
            raise ConfigError("--held-out: textures have held-out regions of their own")
        training, other = (read("textures", path, each) for each in textures.split(config.size or COMMITTED_SIZE))
        return Sets(training, training, other)
    pictures = read("pictures", path)
    if of_run:
        split = opened_pictures.split(config, path, pictures.source)
        return Sets(pictures, part(split.training), part(split.held_out))
    if held_out is None:
        return Sets(pictures, pictures, None)
    other = read("held-out pictures", data_paths.resolve(held_out))
    picture_sets.check_alike(other, pictures.shape, f"those of {entry}")
    return Sets(pictures, pictures, other)


def _write(result: Contents, sets: Sets, options: DataReportOptions, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    json_files.write(out / JSON, result)
    json_files.write_bytes(out / HASHES, contents.hashes(sets.pictures).encode())
    pictures, count, lines = sets.pictures, len(sets.pictures.source), contents.sentences(result)
    rows = np.sort(np.random.default_rng(0).choice(count, min(options.pictures, count), replace=False))

    def twins(repeats: Repeats | None, one: PictureSet | None) -> list[tuple[tuple[str, str], list[dict[str, object]]]]:
        """The pairs that are nearly equal, with their pictures."""
        if repeats is None or one is None:
            return []
        named = [{each.name(row): row for row in range(len(each.rows))} for each in (one, sets.training)]
        pairs = repeats.near[: options.pictures]
        return [
            (
                pair,
                [
                    copies_page.embedded(each.picture(rows[name]))
                    for each, rows, name in zip((one, sets.training), named, pair, strict=True)
                ],
            )
            for pair in pairs
        ]

    html_pages.write(
        out / PAGE,
        Path(__file__).with_name(PAGE),
        report=result,
        pictures=[(pictures.name(row), copies_page.embedded(pictures.picture(row))) for row in rows],
        twins=twins(result.repeats, sets.training),
        leaked=twins(result.leaks, sets.held_out),
        lines=lines,
        hashes=HASHES,
    )
    for line in lines.values():
        print(line)
    print(f"page: {out / PAGE}", flush=True)
