"""Who made a text, what does a model copy, and can one tell: watermarks with exact p-values, membership, and extraction."""

from gendiff.provenance import (
    attack_rates,
    extraction,
    keyed_hash,
    membership,
    text_detection,
    text_watermarks,
    verbatim_spans,
    watermark_files,
)
from gendiff.provenance.verbatim_spans import longest_verbatim_span

__all__ = [
    "attack_rates",
    "extraction",
    "keyed_hash",
    "longest_verbatim_span",
    "membership",
    "text_detection",
    "text_watermarks",
    "verbatim_spans",
    "watermark_files",
]
