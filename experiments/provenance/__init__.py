"""Experiments of the provenance chapter, one question a folder."""
