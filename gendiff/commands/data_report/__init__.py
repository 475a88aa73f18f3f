"""What is in a set of pictures or sounds, for people who ask what a model was trained on: a page and its JSON.

    gendiff data-report PHOTOS
    gendiff data-report PHOTOS --held-out OTHERS
    gendiff data-report runs/images
    gendiff data-report runs/tune

It says what the files say: sizes, licences, marks of models, reservations of rights, repeats and hashes. Its headings
are those of the European Commission's template for the public summary of training content, and what no file says is
left open there for a person. It gives no verdict and claims no compliance. Of the rows of text of a run of `tune` it
counts lengths, repeats and leaks.
"""

from gendiff.commands.data_report.data_report_options import DataReportOptions
from gendiff.runs import ranges
from gendiff.runs.registry import Late, Tool

__all__ = ["COMMAND", "DataReportOptions"]

COMMAND = Tool(
    DataReportOptions,
    Late("gendiff.commands.data_report.command"),
    "What is in pictures or sounds: licences, AI marks, opt-outs, repeats?",
    check=ranges.check,
)
