"""Experiments of the scaling chapter, one question a folder."""
