"""Who made a text or a picture, and what a model copies: watermarks, memorisation, membership, and extraction."""

from gendiff.provenance import (
    attack_rates,
    content_credentials,
    declared_rights,
    extraction,
    image_detection,
    image_watermarks,
    keyed_hash,
    membership,
    memorisation,
    metadata,
    randomisation,
    spread_spectrum,
    text_copies,
    text_detection,
    text_watermarks,
    verbatim_spans,
    watermark_files,
)
from gendiff.provenance.memorisation import memorisation_report
from gendiff.provenance.verbatim_spans import longest_verbatim_span

__all__ = [
    "attack_rates",
    "content_credentials",
    "declared_rights",
    "extraction",
    "image_detection",
    "image_watermarks",
    "keyed_hash",
    "longest_verbatim_span",
    "membership",
    "memorisation",
    "memorisation_report",
    "metadata",
    "randomisation",
    "spread_spectrum",
    "text_copies",
    "text_detection",
    "text_watermarks",
    "verbatim_spans",
    "watermark_files",
]
