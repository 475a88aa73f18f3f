"""Draws in less time: features that are kept, steps in parallel, and steps of a cheaper model."""
