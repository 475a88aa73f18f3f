"""Faster sampling: a feature cache, steps in parallel, and speculation by a cheaper model."""
