"""What ``thetadot simulate --list`` does; it loads no torch."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rich.markup import escape

from thetadot.core.terminal import console
from thetadot.scenes import SCENES
from thetadot.scenes.names import ADAPTIVE, PLAIN

if TYPE_CHECKING:
    import argparse


def act(options: argparse.Namespace) -> int:
    """Print what there is to simulate, and with which parameters."""
    if options.json:
        print(
            json.dumps(
                {
                    name: {"says": scene.says, "set": {k: p.default for k, p in scene.parameters.items()}}
                    for name, scene in SCENES.items()
                }
            )
        )
        return 0
    out = console(sys.stdout)
    for name, scene in SCENES.items():
        more = f", temperature {scene.temperature:g}" if scene.temperature is not None else ""
        more += f", friction {scene.friction:g}" if scene.friction is not None else ""
        out.print(f"[bold]{name}[/bold]  {escape(scene.says)}")
        out.print(f"    {scene.paths:,} paths, time {scene.time:g}, step {scene.step:g}, {scene.integrator}{more}")
        for key, parameter in scene.parameters.items():
            out.print(f"    --set [cyan]{key}[/cyan]={escape(str(parameter.default))}  {escape(parameter.meaning)}")
    out.print(f"[bold]integrators[/bold]  {', '.join(PLAIN)}, or a splitting word such as BAOAB;")
    out.print(f"    {', '.join(ADAPTIVE)}, which find their own steps: without noise, --tolerance instead of --step")
    return 0
