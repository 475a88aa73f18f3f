"""Certificates: a sampler's error, order and exactness, measured against exact oracles without any training."""

from gendiff.diffusion.certify import convergence_order, gaussian_law
from gendiff.diffusion.certify.certificate import Case, Certificate, Curve, certify
from gendiff.diffusion.samplers.catalogue import METHODS, Method

__all__ = ["METHODS", "Case", "Certificate", "Curve", "Method", "certify", "convergence_order", "gaussian_law"]
