"""The command `copies`: reads the sets, compares them, and leaves a page and a file of figures."""

from pathlib import Path

from gendiff.commands.copies import copies_options, copies_page, findings, picture_sets, run_samples, text_findings
from gendiff.commands.copies.copies_options import JSON, PAGE, CopiesOptions
from gendiff.commands.copies.findings import Findings
from gendiff.commands.copies.picture_sets import PictureSet
from gendiff.core.errors import DataError
from gendiff.provenance.memorisation import MemorisationReport
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue
from gendiff.runs.reporting import html_pages, json_files


def call(options: CopiesOptions, catalogue: Catalogue, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit, DataError for pictures that cannot be read or are too few."""
    out = copies_options.check(options)
    if options.text:
        text_findings.report(options, out, progress)
        return
    measured = picture_sets.feature_function(options)
    inputs = (
        run_samples.folder_of(options, catalogue, progress)
        if copies_options.is_run(options.samples)
        else options.samples
    )
    samples = picture_sets.read_samples(inputs, options, measured, progress)
    train = picture_sets.read_data("train", options.train, options, samples.shape, measured, progress)
    held_out, equal = None, 0
    if options.held_out is not None:
        read = picture_sets.read_data("held-out", options.held_out, options, samples.shape, measured, progress)
        held_out, equal = picture_sets.without(read, train)
    if equal:
        progress.line(
            f"note: {equal} held-out pictures equal a training picture, so they are not held out: they are left out"
        )
    with progress.phase("compare"):
        try:
            report = findings.compare(samples, train, held_out, options)
        except ValueError as error:
            raise DataError(f"{options.train}: {error}") from error
    result = findings.findings(report, samples, train, held_out, equal, options)
    out.mkdir(parents=True, exist_ok=True)
    json_files.write(out / JSON, result)
    _write_page(out, result, report, samples, train)
    _print(result, out)


def _write_page(
    out: Path, result: Findings, report: MemorisationReport, samples: PictureSet, train: PictureSet
) -> None:
    rows = [
        (samples.picture(row), *(train.picture(each) for each in report.nearest[row, :2])) for row, _ in report.pairs
    ]
    html_pages.write(
        out / PAGE,
        Path(__file__).with_name("picture_copies.html"),
        found=result,
        sentences=list(findings.sentences(result)),
        table=copies_page.shares([result.whole, *result.classes], beside=result.held_out is not None),
        pairs=[
            (pair, [copies_page.embedded(image) for image in images])
            for pair, images in zip(result.pairs, rows, strict=True)
        ],
    )


def _print(result: Findings, out: Path) -> None:
    for sentence in findings.sentences(result):
        print(sentence)
    for pair in result.pairs[:5]:
        if pair.copy:
            print(f"  {pair.sample}  is a near-copy of  {pair.training}  (ratio {pair.ratio:.3f})")
    if result.duplicates_n or result.near_duplicates_n:
        print(
            f"The training set repeats itself: {result.duplicates_n} pictures equal and {result.near_duplicates_n} "
            "nearly equal another."
        )
    print(f"page: {out / PAGE}", flush=True)
