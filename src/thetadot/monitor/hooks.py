"""Observation of the model's passes between two steps: samples, passes, and the loss where a module computes it.

It listens on measured steps only: between them a step costs nothing here, and is taken to have the same batch. What the
user tells goes before what hooks see. Passes whose gradients were dropped (a loss scaler skipped the step) are
forgotten, with their losses: they are no step's, and no other step's either. That is seen where gradients are gone
before the next pass, or before the next backward pass where a loop empties them as late as that. Passes whose output no
backward pass reached are none. Inside a graph that torch.compile makes nothing is seen, and nothing is added to it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import unserializable_hook

from thetadot.core.output_loss import carried
from thetadot.monitor.axes import disagreeing, named, walk
from thetadot.monitor.calls import Call, bound_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch.utils.hooks import RemovableHandle

    from thetadot.monitor.axes import Path
    from thetadot.monitor.reference import Reference

Places = list[tuple["Path", tuple[int, ...]]]
_NOTED = ("lately", "passes", "losses", "targets", "told", "said")


@dataclass
class Pass:
    """Record of one forward pass."""

    places: Places
    told: int | None  # by the user's function
    first: Tensor | None = None  # its first tensor, and what it was when it came
    version: int = 0
    made: Places = field(default_factory=list)
    reached: bool | None = None  # by a backward pass; None where that is not seen
    call: Call | None = None  # where the pass may have to be made again

    def same(self, other: Pass) -> bool:
        """Whether both saw the same samples."""
        one, two = self.first, other.first
        if one is None or two is None or one.shape != two.shape or one.dtype != two.dtype:
            return False
        if one.layout != torch.strided or two.layout != torch.strided or one.is_nested:
            return one is two
        if one.data_ptr() == two.data_ptr() and one.stride() == two.stride():
            return self.version == other.version
        return one.device.type == "cpu" == two.device.type and torch.equal(one, two)


@dataclass(frozen=True)
class Step:
    """Observations of one step: sizes of passes, mean loss, why they are no equal draws, doubts."""

    sizes: list[int]
    loss: Tensor | None
    unlike: str = ""
    doubt: str = ""
    passes: int = 0


class ForwardHooks:
    """Counts training passes of ``model``; sees the loss where ``loss_fn`` is a module or None.

    Args:
        model: what the loop calls.
        loss_fn: whatever it is.
        parameters: the watched ones.
        dropped: called when passes are forgotten, with whether the next backward pass has begun.
        batch_dim: the axis of the first argument along which samples lie.
        samples: how many a pass averages, or a function of the call's arguments that says it.
        reference: tells where samples lie, once it is prepared.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: object,
        parameters: list[Any],
        dropped: Callable[[bool], None],
        batch_dim: int | None = None,
        samples: int | Callable[..., int] | None = None,
        reference: Reference | None = None,
    ) -> None:
        self.model = model
        self.reference = reference
        self.loss_fn = loss_fn
        self.parameters = parameters
        self.dropped = dropped
        self.quiet = False  # while a probe calls the model
        self.keeping = False  # whether passes of the present step are kept, so that they can be made again
        self.carries = loss_fn is None
        self.batch_dim = batch_dim
        self.samples = samples
        self.parted = False  # passes are known to be parts of one loss, not micro-batches
        self.told_losses = False  # by the user, who goes before what is seen
        self.evaluating = 0  # passes with gradients in eval()
        self.handles: list[RemovableHandle] = []
        self.always: list[RemovableHandle] = []
        self.tracking: list[RemovableHandle] = []  # of backward passes: on measured steps, and where losses are uneven
        self.uneven = False  # whether a step has had other than the usual number of losses
        self.usual = 0  # losses of the last measured step
        self.lately: list[Tensor | float] = []  # losses since the last step, whether it is measured or not
        self.sweeps = 0  # backward passes since the last step, or since gradients were dropped
        self.marks: dict[str, int] = {}  # what was noted before the last of them
        self.version = 0  # of the last parameter's gradient after it
        self._forget()

    @property
    def called(self) -> dict[Path, int]:
        """Where samples lie among the model's arguments, as the reference tells it."""
        return {} if self.reference is None else self.reference.called

    @property
    def made(self) -> dict[Path, int]:
        """Where samples lie in the model's output, as the reference tells it."""
        return {} if self.reference is None else self.reference.made

    @property
    def listening(self) -> bool:
        """Whether the present step is measured."""
        return bool(self.handles)

    @property
    def sizes(self) -> list[int]:
        """Samples of the passes since the last step."""
        return [self._count(one, self.targets)[0] for one in self.passes if one.reached is not False]

    def calls(self) -> tuple[list[Call], list[int], int]:
        """The passes of this step as they were called, samples of each, and the axis along which those lie."""
        passes = [one for one in self.passes if one.reached and one.call is not None]
        told = self.called.values() if self.called else () if self.batch_dim is None else (self.batch_dim,)
        counts = [self._count(one, self.targets)[0] for one in passes]
        return [one.call for one in passes if one.call is not None], counts, next(iter(told), 0)

    @contextlib.contextmanager
    def silenced(self) -> Iterator[None]:
        """Do not count passes of the model that a measurement makes."""
        self.quiet = True
        try:
            yield
        finally:
            self.quiet = False

    def listen(self) -> None:
        """Listen to the model until :meth:`rest`."""
        self._forget()
        if self.listening:
            return
        self.handles = [
            self.model.register_forward_pre_hook(self.entered, with_kwargs=True),
            self.model.register_forward_hook(self._left),
        ]
        if isinstance(self.loss_fn, nn.Module):
            self.handles.append(self.loss_fn.register_forward_hook(self._lost))
        self._track()

    def _track(self) -> None:
        """See backward passes, which tell whether the gradients of a loss were dropped."""
        if not self.tracking:
            last = self.parameters[-1]
            self.tracking = [
                last.register_hook(self._arriving),
                last.register_post_accumulate_grad_hook(self._swept),
            ]

    def follow(self) -> None:
        """Note the loss of every step, until :meth:`leave`."""
        if isinstance(self.loss_fn, nn.Module):
            self.always = [self.loss_fn.register_forward_hook(self._followed)]
        elif self.carries:
            self.always = [self.model.register_forward_hook(self._carried)]

    def leave(self) -> None:
        """Take every hook away."""
        self.rest()
        for handle in (*self.always, *self.tracking):
            handle.remove()
        self.always, self.tracking = [], []

    def latest(self) -> Tensor | float | None:
        """The mean loss since the last call, where it was seen; to be called at every step.

        Backward passes are seen on measured steps alone until a step between them has more losses than the last
        measured one. Then the first of them were dropped, and from there on every backward pass is seen.
        """
        self.sweeps = 0
        losses = self.lately
        if self.handles:
            self.usual = len(losses)
        if not losses:
            return None
        self.lately = []
        if len(losses) == 1:
            return losses[0]
        if not self.tracking and len(losses) > max(self.usual, 1):
            self.uneven = True
            self._track()
            losses = losses[-max(self.usual, 1) :]
        return sum(losses[1:], losses[0]) / len(losses)

    def rest(self) -> None:
        """Take the hooks away."""
        unneeded = [] if self.uneven else self.tracking
        for handle in (*self.handles, *unneeded):
            handle.remove()
        self.handles = []
        if not self.uneven:
            self.tracking = []

    def taken(self) -> Step:
        """Return the observations since the last call."""
        passes = [one for one in self.passes if one.reached is not False]
        told, losses, targets = self.told, self.said or self.losses, self.targets
        seen = len(self.losses)
        self._forget()
        loss = None if not losses else losses[0] if len(losses) == 1 else torch.stack(losses).mean()
        if told:
            return Step(told, loss, passes=len(told))
        fresh = [one for i, one in enumerate(passes) if not any(one.same(other) for other in passes[:i])]
        if seen == len(passes) and not self.parted:
            fresh = passes  # each has a loss of its own: targets may differ where inputs do not
        doubt = ""
        sizes = []
        for one in fresh:
            size, why = self._count(one, targets)
            sizes.append(size)
            doubt = doubt or why
        return Step(sizes, loss, _unlike(passes, fresh, seen), doubt, len(passes))

    def _count(self, one: Pass, targets: list[Places]) -> tuple[int, str]:
        """Samples of a pass: as told, as on the reference, by agreement with the target, else the first rows."""
        if one.told is not None:
            return one.told, ""
        for known, places in ((self.called, one.places), (self.made, one.made)):
            sizes = dict(places)
            for path, axis in known.items():
                if axis < len(sizes.get(path, ())):
                    return sizes[path][axis], ""
        if not one.places:
            return 0, ""
        path, first = one.places[0]
        if self.batch_dim is not None and -len(first) <= self.batch_dim < len(first):
            return first[self.batch_dim], ""
        rows = next((sizes[0] for places in targets for _, sizes in places), None)
        if rows is not None and rows != first[0] and (rows in first[1:] or (first[0] and rows % first[0])):
            return rows, f"{named(path)} has sizes {first} and the target {rows} rows, which were counted"
        doubt = "" if rows == first[0] else disagreeing(one.places)
        return first[0], f"{doubt}: {first[0]} were counted" if doubt else ""

    def loss(self, value: Tensor | float) -> None:
        """Told by the user."""
        self.told_losses = True
        self._note(value)
        if self.listening:
            self.said.append(value.detach().reshape(()) if isinstance(value, Tensor) else torch.tensor(float(value)))

    def passed(self, samples: int) -> None:
        """Told by the user, before the backward pass."""
        if self.listening:
            self._drop()
            self.told.append(samples)

    def entered(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note the beginning of a pass."""
        if not self._seen():
            if not self.quiet and not torch.compiler.is_compiling() and torch.is_grad_enabled():
                self.evaluating += 1
            return
        self._drop()
        given = bound_arguments(self.model, args, kwargs)
        told = self.samples(*args, **kwargs) if callable(self.samples) else self.samples
        first = next((leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor)), None)
        version = 0 if first is None or first.is_inference() else first._version  # noqa: SLF001 - it has no other name
        call = Call(args, kwargs, self.parameters[0].device) if self.keeping else None
        self.passes.append(Pass(list(walk(given)), told, first, version, call=call))

    def _left(self, _module: nn.Module, _args: object, output: Any) -> None:
        if not self._seen():
            return
        if self.carries:
            loss = carried(output)
            if loss is not None:
                self.losses.append(loss.detach().reshape(()))
        if not self.passes:
            return
        one = self.passes[-1]
        if self.made:
            one.made = list(walk(output))
        for number, leaf in enumerate(tree_leaves(output)):
            if isinstance(leaf, Tensor) and leaf.requires_grad:
                one.reached = False
                hooked: Any = leaf
                hooked.register_hook(partial(_reach, one, number))

    def _lost(self, _module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not self._seen():
            return
        if isinstance(output, Tensor) and output.numel() == 1:
            self.losses.append(output.detach().reshape(()))
        if len(args) > 1:
            self.targets.append(list(walk(args[1])))

    def _followed(self, _module: nn.Module, _args: object, output: Any) -> None:
        if not self.told_losses and self._seen() and isinstance(output, Tensor) and output.numel() == 1:
            self._note(output)

    def _carried(self, _module: nn.Module, _args: object, output: Any) -> None:
        if not self.told_losses and self._seen():
            loss = carried(output)
            if loss is not None:
                self._note(loss)

    def _note(self, loss: Tensor | float) -> None:
        """Take a loss of this step; what was noted before gradients were dropped is of none.

        At every step, where the code of the step before has left no cache warm: a call more costs microseconds.
        """
        if self.sweeps:
            self._drop()
        self.lately.append(_loss_copy(loss))

    @unserializable_hook  # type: ignore[untyped-decorator]  # a model that is saved as a whole does not warn of it
    def _arriving(self, _gradient: Tensor) -> None:
        """Before a gradient is added: what was noted before the last backward pass, if that one's was dropped."""
        if self.sweeps and self._emptied():
            self._part_with(begun=True)

    def _swept(self, parameter: Tensor) -> None:
        self.sweeps += 1
        if self.handles:
            self.marks = {name: len(getattr(self, name)) for name in _NOTED}
        else:  # a step that is not measured: the loss alone is noted
            self.marks = {"lately": len(self.lately)}
        self.version = 0 if parameter.grad is None else parameter.grad._version  # noqa: SLF001 - it has no other name

    def _seen(self) -> bool:
        if torch.compiler.is_compiling():
            return False
        if self.quiet or not torch.is_grad_enabled() or not self.model.training:
            return False
        # A network that is frozen for now learns nothing. The first parameter alone tells it at nearly every step.
        return self.parameters[0].requires_grad or any(p.requires_grad for p in self.parameters)

    def _drop(self) -> None:
        if self.sweeps and self._emptied():
            self._part_with(begun=False)

    def _part_with(self, *, begun: bool) -> None:
        """Forget what was noted before the last backward pass, whose gradients no step will take.

        Args:
            begun: whether the next backward pass has begun; with nothing noted since, it is of what was noted before.
        """
        for name, mark in self.marks.items():
            noted = getattr(self, name)
            if name == "said" or (name == "lately" and self.told_losses):
                del noted[: max(mark, self.sweeps)]  # told before the backward pass, or after it
            elif not begun or len(noted) > mark:
                del noted[:mark]
        self.sweeps = 0
        self.dropped(begun)

    def _emptied(self) -> bool:
        """Whether gradients were taken away, or made zeros, since a backward pass; values are read only if written."""
        last = self.parameters[-1].grad
        if last is None:
            return all(p.grad is None for p in self.parameters)
        return last._version != self.version and not any(  # noqa: SLF001
            bool(p.grad.any()) for p in self.parameters if p.grad is not None
        )

    def _forget(self) -> None:
        self.passes: list[Pass] = []  # by hooks
        self.losses: list[Tensor] = []
        self.targets: list[Places] = []
        self.told: list[int] = []  # by the user
        self.said: list[Tensor] = []


def _loss_copy(loss: Tensor | float) -> Tensor | float:
    """A loss that no later operation in place changes: a float where no accelerator is waited for, else a copy."""
    if not isinstance(loss, Tensor):
        return float(loss)
    if at_hand(loss):
        try:
            return loss.item()
        except RuntimeError:  # within a transform of torch.func it has no value
            pass
    return loss.detach().clone().reshape(())


def at_hand(loss: Tensor) -> bool:
    """Whether reading a number waits for no accelerator."""
    return type(loss) is Tensor and loss.is_cpu


def _reach(one: Pass, number: int, gradient: Tensor) -> None:
    one.reached = True
    if one.call is not None:
        one.call.pull(number, gradient)


def _unlike(passes: list[Pass], fresh: list[Pass], losses: int) -> str:
    """Why the passes of a step are no equal draws; "" where nothing of their form tells."""
    if len(fresh) < len(passes):
        return "passes of one step see the same inputs: they are parts of one loss, not micro-batches"
    kinds = {tuple((path, len(sizes)) for path, sizes in one.places) for one in passes}
    if len(kinds) > 1:
        return "inputs of one step's passes differ in structure"
    if losses and len(passes) > 1 and losses % len(passes):
        return f"loss_fn was called {losses} times in a step of {len(passes)} passes: they have different losses"
    return ""
