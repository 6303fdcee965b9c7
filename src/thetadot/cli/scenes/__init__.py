"""Motions by name, each with what is known of it and what there is to see."""

from thetadot.cli.scenes import (
    competition,
    descent_flows,
    dirac_gan,
    double_well,
    geometric_brownian,
    harmonic,
    jacobi,
    mathieu,
    quartic_2d,
    simsiam,
    wgan_div,
)
from thetadot.cli.scenes.base import ERRORS, Parameter, Row, Scene, Settings, Setup

SCENES: dict[str, Scene] = {
    module.SCENE.name: module.SCENE
    for module in (
        double_well,
        quartic_2d,
        harmonic,
        dirac_gan,
        wgan_div,
        simsiam,
        competition,
        mathieu,
        geometric_brownian,
        jacobi,
        descent_flows,
    )
}

__all__ = ["ERRORS", "SCENES", "Parameter", "Row", "Scene", "Settings", "Setup"]
