"""The command `data-report`: opens the data of a folder or of a run, and leaves a page, figures and hashes."""

import dataclasses
from pathlib import Path

import numpy as np

from gendiff.commands.copies import copies_page, picture_sets
from gendiff.commands.copies.picture_sets import PictureSet
from gendiff.commands.data_report import contents, text_contents
from gendiff.commands.data_report.contents import Contents, Repeats, Sets
from gendiff.commands.data_report.data_report_options import DataReportOptions
from gendiff.commands.images import image_features
from gendiff.commands.train import data_paths, facts, opened_pictures
from gendiff.commands.train.config import Config
from gendiff.commands.train.opened_pictures import COMMITTED_SIZE
from gendiff.core import foreign_files
from gendiff.core.errors import ConfigError, DataError
from gendiff.data import textures
from gendiff.data.images.random_access import Source, Subset
from gendiff.runs import configuration, run_folder, runner
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue
from gendiff.runs.reporting import html_pages, json_files
from gendiff.runs.run_folder import RunFolder

JSON, PAGE, HASHES = "data_report.json", "data_report.html", "data_hashes.txt"
TEXT_PAGE = "text_report.html"
OF_RUN = ("size", "mode", "background", "held_out", "sample_rate", "seconds")
"""Options that a run has answered."""
OF_PICTURES = ("near", "pictures")
"""Options that rows of text do not have."""


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
    if stored.experiment == "tune":
        _of_rows(path, folder, options, progress)
        return
    if stored.experiment != "images":
        raise ConfigError(
            f"{path} is a run of {stored.experiment}, and the data of train and tune are reported: give DATA instead"
        )
    config = configuration.restore(stored, Config, folder)
    for entry, (name, within) in zip(config.data, facts.places(config, folder), strict=True):
        out = within.path
        if options.out is not None:
            target = Path(options.out) if len(config.data) == 1 else Path(options.out, name)
            out = run_folder.for_findings(target, JSON)
        if config.of_model:
            sets, known = _captioned(config, folder, progress)
            of_run = contents.OfRun(str(path), f"LoRA of rank {config.lora}", config.model)
        else:
            sets, known = _sets(entry, config, progress, of_run=True), facts.read(within).data.fingerprint
            of_run = contents.OfRun(str(path), config.network)
        result = contents.summarize(sets, options.near, progress, of_run)
        _note_changes(entry, result.fingerprint, known, progress)
        _write(result, sets, options, out)
    _link(folder, options)


def _of_rows(path: Path, folder: RunFolder, options: DataReportOptions, progress: Progress) -> None:
    from gendiff.commands.tune import config, rows, train  # loads the networks of texts

    if foreign := [name for name in OF_PICTURES if getattr(options, name) != getattr(DataReportOptions, name)]:
        raise ConfigError(f"--{foreign[0]} is for pictures and sounds, and {path} learned from rows of text")
    numbers = configuration.restore(configuration.read(folder), config.Config, folder)
    out = folder.path if options.out is None else run_folder.for_findings(options.out, JSON)
    result = text_contents.summarize(numbers, rows.read(numbers), str(path))
    known = json_files.read(folder.path / train.FILE, train.JobFacts).fingerprint
    _note_changes(result.data, result.fingerprint, known, progress)
    out.mkdir(parents=True, exist_ok=True)
    json_files.write(out / JSON, result)
    lines = text_contents.sentences(result)
    html_pages.write(out / PAGE, Path(__file__).with_name(TEXT_PAGE), report=result, lines=lines)
    _say(lines, out)
    _link(folder, options)


def _note_changes(data: str, fingerprint: str, known: str, progress: Progress) -> None:
    if fingerprint != known:
        progress.line(f"note: {data} has changed since the run began: the report is of what is there now")


def _link(folder: RunFolder, options: DataReportOptions) -> None:
    """The report of the run links to what lies in its folder."""
    if options.out is None and folder.results.is_file():
        runner.rewrite_report(folder, {})


def _say(lines: dict[str, str], out: Path) -> None:
    for line in lines.values():
        print(line)
    print(f"page: {out / PAGE}", flush=True)


def _config(options: DataReportOptions) -> Config:
    return Config(
        data=(options.data,),
        size=options.size,
        mode=options.mode,
        background=options.background,
        sample_rate=options.sample_rate,
        seconds=options.seconds,
        on_bad_image="skip",
    )


def _captioned(config: Config, folder: RunFolder, progress: Progress) -> tuple[Sets, str]:
    """The pictures of a LoRA with their captions, and the fingerprint that the run has of both."""
    from gendiff.commands.train.fine_tuning import captioned_pictures, jobs  # loads the networks of models

    stored, path = json_files.read(folder.path / jobs.FILE, jobs.JobFacts), data_paths.resolve(config.data[0])
    opened_pictures.check_apart(path, folder)
    files = captioned_pictures.listed(config, stored.size)
    pictures = picture_sets.read("pictures", path, files, opened_pictures.small, progress)
    training, held_out = captioned_pictures.split(config, files, pictures.source)
    captions = training.captions, held_out.captions
    return Sets(
        pictures, _part(pictures, training.images), _part(pictures, held_out.images), captions
    ), stored.fingerprint


def _sets(entry: str, config: Config, progress: Progress, held_out: str | None = None, *, of_run: bool = False) -> Sets:
    """The pictures of an entry of `data`. Raises as `opened_pictures.open_pictures` and `picture_sets.read` do."""

    def read(title: str, location: str, source: Source | None = None) -> PictureSet:
        if source is None:
            opened_pictures.check_apart(location, None)
            with image_features.option_errors():
                source = opened_pictures.listed(config, location)
        title = title.replace("pictures", contents.kind(source))
        return picture_sets.read(title, location, source, opened_pictures.small, progress)

    path = data_paths.resolve(entry)
    if path == "textures":
        if held_out is not None:
            raise ConfigError("--held-out: textures have held-out regions of their own")
        training, other = (read("textures", path, each) for each in textures.split(config.size or COMMITTED_SIZE))
        return Sets(training, training, other)
    pictures = read("pictures", path)
    if of_run:
        split = opened_pictures.split(config, path, pictures.source)
        return Sets(pictures, _part(pictures, split.training), _part(pictures, split.held_out))
    if held_out is None:
        return Sets(pictures, pictures, None)
    other = read("held-out pictures", data_paths.resolve(held_out))
    if (kinds := [contents.kind(each.source) for each in (other, pictures)])[0] != kinds[1]:
        raise DataError(f"{other.place}: holds {kinds[0]}, and {entry} {kinds[1]}: give data of one kind")
    picture_sets.check_alike(other, pictures.shape, f"those of {entry}")
    return Sets(pictures, pictures, other)


def _part(pictures: PictureSet, source: Source) -> PictureSet:
    """Some of the pictures, which a split of their source has left."""
    rows = source.rows if isinstance(source, Subset) else slice(None)
    return dataclasses.replace(pictures, source=source, rows=pictures.rows[rows])


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
    _say(lines, out)
