"""``thetadot simulate``: a named motion, or one of one's own, as an ensemble; its table, its page, its arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.scenes.scene import FRAMES

if TYPE_CHECKING:
    import argparse


NAME = "simulate"


HELP = "Simulate an ensemble of a named system or of your own, compare it with what is known, and show it in pictures."


EPILOG = """examples:
  thetadot simulate --list
  thetadot simulate double-well --temperature 0.1 --paths 20000
  thetadot simulate dirac-gan --set kind=non-saturating --set penalty=gp --out runs/gan
  thetadot simulate examples/motions.py:lorenz --time 20

your own: file.py:function, where function(), called with what --set (and --temperature, --friction) gives it, returns
  a Problem(system, potential), an ODE, an SDE or another system with a drift of its own;
  or a tuple (motion, integrator, initial, time, step, paths), or a mapping with such keys

The folder holds report.html, trajectory.npz (times, states, ...) and simulation.json (the table)."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a named system (--list) or file.py:function")
    parser.add_argument(
        "--list",
        dest="action",
        action="store_const",
        const="simulation_list",
        help="what there is to simulate, and what --set changes",
    )
    parser.add_argument("--paths", type=int, metavar="N", help="how many paths")
    parser.add_argument("--time", type=float, metavar="T", help="how long; a whole number of steps, if they are fixed")
    parser.add_argument("--step", type=float, metavar="H", help="time step")
    parser.add_argument(
        "--tolerance", type=float, metavar="R", help="relative, of a method that finds its own steps (absolute: R/1000)"
    )
    parser.add_argument("--temperature", type=float, metavar="T", help="heat, in units of the loss")
    parser.add_argument("--friction", type=float, metavar="L", help="of a motion with inertia, in 1/time")
    parser.add_argument("--integrator", metavar="NAME", help="rk4, dormand-prince, ..., or a word such as BAOAB")
    parser.add_argument("--seed", "--key", type=int, metavar="S", help="of all noise (default: 0)")
    parser.add_argument("--save", type=int, metavar="N", help=f"times at which all paths are saved (default: {FRAMES})")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another parameter")
    parser.add_argument("--out", metavar="DIR", help="folder (default: runs/NAME, or NAME-2, ... if taken)")
    parser.add_argument("--overwrite", action="store_true", help="replace the simulation that the folder holds")
    parser.add_argument("--resume", metavar="DIR", help="resume exactly where the simulation in DIR was interrupted")
    parser.add_argument("--json", action="store_true", help="print the table as one JSON object")
