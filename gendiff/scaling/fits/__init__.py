"""From the table of a sweep to a scaling law: approaches 1 to 3 and variable projection, with intervals and tests."""

from gendiff.scaling.fits.data_points import Points, points
from gendiff.scaling.fits.envelope import Curve, EnvelopeFit, fit_envelope
from gendiff.scaling.fits.isoflop import IsoFlopFit, Profile, fit_isoflop
from gendiff.scaling.fits.likelihood_ratio import LikelihoodRatio, likelihood_ratio
from gendiff.scaling.fits.parametric import ParametricFit, fit_parametric, huber_objective
from gendiff.scaling.fits.power_law import PowerLaw, fit_power_law
from gendiff.scaling.fits.resamples import BootstrapFits, Coverage, bootstrap, coverage
from gendiff.scaling.fits.surface_fit import SurfaceFit
from gendiff.scaling.fits.sweep_check import Finding, check_sweep
from gendiff.scaling.fits.variable_projection import VarproFit, fit_varpro

__all__ = [
    "BootstrapFits",
    "Coverage",
    "Curve",
    "EnvelopeFit",
    "Finding",
    "IsoFlopFit",
    "LikelihoodRatio",
    "ParametricFit",
    "Points",
    "PowerLaw",
    "Profile",
    "SurfaceFit",
    "VarproFit",
    "bootstrap",
    "check_sweep",
    "coverage",
    "fit_envelope",
    "fit_isoflop",
    "fit_parametric",
    "fit_power_law",
    "fit_varpro",
    "huber_objective",
    "likelihood_ratio",
    "points",
]
