"""The label of no class, which can be had without JAX."""

NO_LABEL = -1
"""Networks map it to their null class."""
