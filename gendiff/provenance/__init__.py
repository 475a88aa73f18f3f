"""Who made a text, and can one tell: watermarks that a key writes and reads, with exact p-values."""

from gendiff.provenance import keyed_hash, text_detection, text_watermarks, watermark_files

__all__ = ["keyed_hash", "text_detection", "text_watermarks", "watermark_files"]
