"""Blocks that networks are built from: residual, transformer, and a mixture of experts."""
