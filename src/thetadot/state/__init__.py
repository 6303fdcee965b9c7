"""The state of a run: everything that its next step depends on, and that a pass through model and loss may write.

    model, loss     parameters, buffers (registered or not in the state dict), plain tensors, numbers and containers of
                    them in attributes, random generators they own, modes; of a loss that is a function, what it closes
                    over and the modules, tensors and generators that it names
    optimizer       its state dict
    generators      Python's, numpy's, torch's

One definition, used by measurements (nothing may change), rollbacks, forks and checkpoints. :class:`Kept` puts the
state back within a process, :func:`pack` and :func:`unpack` carry it to another one, :func:`changes_of` finds out what
a pass changes, and what of it could not be put back.
"""

from thetadot.state.generators import generators, generators_kept, keyed, restore_generators
from thetadot.state.kept import Kept, kept
from thetadot.state.packed import pack, unpack
from thetadot.state.passes import StateChange, changes_of, hidden_in

__all__ = [
    "Kept",
    "StateChange",
    "changes_of",
    "generators",
    "generators_kept",
    "hidden_in",
    "kept",
    "keyed",
    "pack",
    "restore_generators",
    "unpack",
]  # fmt: skip
