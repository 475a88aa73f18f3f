"""Experiments of the diffusion chapter, one question a file."""
