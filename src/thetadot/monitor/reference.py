"""The fixed reference batch as an objective of the model's parameters, whole and in equal parts."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from thetadot.core.output_loss import carried
from thetadot.errors import InadmissibleValue
from thetadot.monitor.axes import Axes, Path, count_of, named, take, walk, ways
from thetadot.monitor.cadence import forwards, gradients
from thetadot.monitor.calls import bound_arguments, inner
from thetadot.monitor.locate import placement
from thetadot.monitor.operations import Counting
from thetadot.probes import Objective
from thetadot.probes.reference import Passing, undisturbed, whole_state
from thetadot.probes.sharded import ShardedObjective
from thetadot.probes.wide import Casting, WideObjective, narrow
from thetadot.state import changes_of, hidden_in, kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from thetadot.monitor.layers import Layout
    from thetadot.probes.reference import State
    from thetadot.state import StateChange

PARTS = 8


@dataclass(frozen=True)
class Batch:
    """A reference batch of any structure, and ``loss(model, data)``, a mean over its samples.

    ``data`` may nest tuples, lists and dicts; how its samples lie is found as for any reference. Where no axis carries
    them (graphs), subclass it with ``samples`` and ``cut(low, high)`` of your own.

    Example:
        >>> Batch((torch.zeros(16, 2), torch.zeros(16)), lambda model, data: model(data[0]).mean()).cut(0, 4).samples
        4
    """

    data: Any
    loss: Callable[[Any, Any], Tensor]

    @property
    def samples(self) -> int:
        """By agreement of sizes."""
        return count_of(self.data)

    def cut(self, low: int, high: int) -> Batch:
        """Some of its samples."""
        found = ways(self.data)
        return Batch(take(self.data, found[0].of, slice(low, high)) if found else self.data, self.loss)

    def __call__(self, model: Any) -> Tensor:
        """The loss on all of it."""
        return self.loss(model, self.data)


class Reference:
    """Loss on the user's reference batch.

    Args:
        model: compiled or data-parallel wrappers are looked through: neither has second derivatives.
        loss_fn: ``loss_fn(output, target)``; None where the model's output carries ``.loss``.
        data: (x, target), a dict of keyword arguments, a :class:`Batch` or a function of the model that returns the
            loss.
        layout: the watched parameters.
        batch_dim: the axis of the first input along which its samples lie; found where it is None.

    Raises:
        InadmissibleValue: none of these, or the loss cannot be computed from it.
    """

    def __init__(self, model: nn.Module, loss_fn: Any, data: Any, layout: Layout, batch_dim: int | None = None) -> None:
        self.model = inner(model)
        self.loss_fn = loss_fn
        self.data = data
        self.layout = layout
        self.batch_dim = batch_dim
        if not (callable(data) or isinstance(data, dict) or (isinstance(data, tuple | list) and len(data) >= 1)):
            raise InadmissibleValue(
                f"reference is of type {type(data).__name__}. Pass (inputs, target), a dict of keyword arguments "
                "of the model, or a function of the model that returns the loss."
            )
        if loss_fn is None and isinstance(data, tuple | list):
            raise InadmissibleValue("a reference (inputs, target) needs loss_fn. Pass loss_fn(output, target).")
        self.own = isinstance(data, Batch) and type(data) is not Batch  # the user's own way to cut it
        self.held = data.data if isinstance(data, Batch) else data
        self.target: Path | None = (len(data) - 1,) if isinstance(data, tuple | list) and len(data) > 1 else None
        self.ways = [] if callable(data) and not isinstance(data, Batch) else ways(self.held, self.target, batch_dim)
        if batch_dim is not None and not self.ways and not self.own:
            raise InadmissibleValue(
                f"batch_dim={batch_dim} is no axis of the reference's first input, or its target has another size. "
                "Pass the axis along which the samples of a reference (inputs, target) lie."
            )
        self.axes: Axes | None = self.ways[0] if self.ways else None
        self.samples: int = self._samples()
        self.called: dict[Path, int] = {}  # by argument of the model, the axis that its samples lie along
        self.made: dict[Path, int] = {}  # of its output, where no argument carries them
        self.narrow = narrow(layout.parameters)
        self.sharing = 1.0  # how often a sample uses a weight; found by a pass
        self.written: list[str] | None = None  # parameters that a pass writes; None where nothing but buffers is

    def _samples(self) -> int:
        if self.own:
            return int(self.data.samples)
        if self.axes is not None:
            return self.axes.count
        return 0 if callable(self.data) and not isinstance(self.data, Batch) else count_of(self.held, self.target)

    # Before the first measurement.

    @property
    def plain(self) -> bool:
        """Whether sizes alone say where the samples lie: along first axes, in one number."""
        if not self.ways:
            return True
        return len({way.count for way in self.ways}) == 1 and not any(self.ways[0].of.values())

    @property
    def known(self) -> bool:
        """Whether nothing has to be tried: sizes say where the samples lie, and the loss says that it is a mean."""
        return self.plain and getattr(self.loss_fn, "reduction", None) == "mean"

    @contextlib.contextmanager
    def portion(self, count: int) -> Iterator[None]:
        """Inside it has so many of its samples only, evenly spread; all where it has no more, or is not to be cut."""
        whole = self.data, self.held, self.ways, self.axes, self.samples
        axes = self.axes or (self.ways[0] if self.ways else None)
        if count < self.samples and self.own:
            self.data = self.data.cut(0, count)
            self.held, self.samples = self.data.data, count
        elif count < self.samples and axes is not None:
            self.held = take(self.held, axes.of, torch.arange(count) * self.samples // count)
            self.ways = [replace(way, count=count) for way in self.ways]
            self.axes, self.samples = None if self.axes is None else replace(axes, count=count), count
        try:
            yield
        finally:
            found = self.axes
            self.data, self.held, self.ways, self.axes, self.samples = whole
            self.axes = None if found is None else next((way for way in self.ways if way.of == found.of), found)
            self.samples = self._samples()

    def preparing(self, size: float, batch: float) -> float:
        """Cost of preparing the reference on so many samples, in samples' gradients."""
        if self.layout.sharded:
            return 0.0
        cost = gradients(2.0 * size, 2, batch) + forwards(size, 1, batch)
        if self.own or not self.ways or self.known:
            return cost
        return cost + gradients(2.0 * size, 3, batch) + gradients(1.5 * size, 2, batch) / 3.0

    def changed(self) -> list[StateChange]:
        """List what a pass changes and cannot be restored; from now on the rest is restored."""
        roots = self._roots()
        if self.layout.sharded:  # shards have no copy, nor can they be put back while their whole stands in their place
            return hidden_in(roots)

        def run(parts: dict[str, Any]) -> Tensor:
            return self._loss(self.held, parts["model"], parts["loss"])

        return self.told(changes_of(run, {"model": self.model, "loss": roots["loss"]}))

    def told(self, found: list[StateChange]) -> list[StateChange]:
        """List what cannot be restored of all that a pass changes; from now on the rest is restored."""
        if any(change.kind != "buffer" or not change.place.startswith("model.") for change in found):
            self.written = [change.place for change in found if change.kind == "parameter"]
        return [change for change in found if not change.kept]

    def settle(self) -> str:
        """Find out how the samples lie, by gradients of parts. What is to be said of it, "" where nothing is.

        Raises:
            InadmissibleValue: the loss is a sum over its samples.
        """
        if self.layout.sharded or self.own or not self.ways or self.known:
            return ""
        found = placement(self._slope, self.ways, insist=self.batch_dim is not None)
        self.axes = found.axes
        self.samples = self._samples()
        if found.axes is not None:
            self._learn(found.axes)
        if found.kind == "sum":
            raise InadmissibleValue(
                f"the loss on the reference is a sum over its {self.samples} samples: its curvature, noise and step "
                "depend on the batch size. Return a mean over the batch"
            )
        if found.axes is None:
            return (
                "the reference is not cut into parts: along no axis is its gradient that of a mean over samples. "
                "Pass batch_dim= of its first input, or a thetadot.monitor.Batch with a cut of its own"
            )
        if found.rival is None:
            return ""
        return (
            f"the reference may have {found.axes.count} samples ({_axes_in_words(found.axes)}) or {found.rival.count} "
            f"({_axes_in_words(found.rival)}): both were consistent, the first was taken. Pass batch_dim= of its first "
            "input"
        )

    def _learn(self, axes: Axes) -> None:
        """Which axes of the model's arguments, or of its output, have as many as there are samples."""
        seen: list[tuple[dict[Path, tuple[int, ...]], ...]] = []

        def note(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            seen.append((dict(walk(bound_arguments(module, args, kwargs))), dict(walk(output))))

        handle = self.model.register_forward_hook(note, with_kwargs=True)
        counts = []
        try:
            for part in (self.held, take(self.held, axes.of, slice(0, max(1, axes.count // 2)))):
                before = len(seen)
                with undisturbed(self.model, state=self.state()), torch.no_grad(), contextlib.suppress(Exception):
                    self._loss(part)
                counts.append(seen[before : before + 1])
        finally:
            handle.remove()
        if not all(counts):
            return
        (whole,), (half,) = counts
        self.called, self.made = (
            {
                path: k
                for path, found in mine.items()
                for k, (one, other) in enumerate(zip(found, theirs.get(path, ()), strict=False))
                if one == axes.count and other == max(1, axes.count // 2) and one != other
            }
            for mine, theirs in zip(whole, half, strict=True)
        )

    def _slope(self, axes: Axes | None, rows: Any) -> Tensor:
        """The gradient as :func:`~thetadot.monitor.locate.placement` asks for it, in evaluation mode."""
        data = self.held if axes is None else take(self.held, axes.of, rows)

        def loss() -> Tensor:
            for module in self.model.modules():
                if not isinstance(module, nn.RNNBase):  # cuDNN has no backward pass in evaluation mode
                    module.training = False
            return self._loss(data)

        objective = self.curved(loss)
        state = objective.state()
        if axes is None and rows is not None:  # other random numbers
            with objective.still(state), torch.enable_grad():
                torch.manual_seed(rows)
                found = torch.autograd.grad(loss(), objective.parameters, allow_unused=True)
            return torch.cat([torch.zeros_like(p).reshape(-1) if g is None else g.reshape(-1)
                              for p, g in zip(objective.parameters, found, strict=True)])  # fmt: skip
        return objective.gradient()

    # Measurements.

    def kept(self) -> contextlib.AbstractContextManager[Any]:
        """Everything that a pass may write is as before afterwards."""
        return kept(self.written or (), **self._roots())

    def state(self) -> State:
        """Return the state to restore after every pass."""
        if self.written is None:
            return Passing(self.model)
        roots = self._roots()
        return whole_state(roots.pop("model"), self.written, **roots)

    def state_dict(self) -> dict[str, Any]:
        """Return what is known of it."""
        way = next((i for i, way in enumerate(self.ways) if self.axes is not None and way.of == self.axes.of), None)
        return {"way": way} | {name: getattr(self, name) for name in ("written", "narrow", "sharing")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.axes = None if state["way"] is None else self.ways[int(state["way"])]
        self.samples = self._samples()
        self.written = None if state["written"] is None else [str(name) for name in state["written"]]
        self.narrow, self.sharing = bool(state["narrow"]), float(state["sharing"])

    def whole(self) -> Objective:
        """On all of it."""
        return self._objective(self.held)

    def curved(self, loss: Callable[[], Tensor] | None = None) -> Objective:
        """On all of it, for second derivatives: in float32 where parameters are narrow.

        Raises:
            InadmissibleValue: they are narrow and sharded.
        """
        loss = loss or (lambda: self._loss(self.held))
        if not self.narrow:
            return self._of(loss)
        if self.layout.sharded:
            raise InadmissibleValue("curvature of sharded narrow parameters is not measured. Keep them in float32")
        return WideObjective(self.model, loss, self.layout.parameters, self.state)

    def notice_autocast(self) -> None:
        """Note whether the loss runs under autocast, for curvature is measured in float32, and what a pass costs."""
        if self.narrow or self.layout.sharded:
            return
        casting, counting = Casting(), Counting()
        around = (torch.no_grad(), casting, counting, contextlib.suppress(Exception))
        with undisturbed(self.model, state=self.state()), contextlib.ExitStack() as stack:
            for one in around:
                stack.enter_context(one)
            self._loss(self.held)
        self.narrow = casting.seen
        self.sharing = max(1.0, counting.operations / (2.0 * self.layout.count * max(1, self.samples)))

    def parts(self, least: int = 2) -> tuple[list[Objective], int]:
        """Equal parts and the samples of each; none where the batch is too small or is not to be cut."""
        size = self.samples // PARTS
        if size < least or (self.axes is None and not self.own):
            return [], 0
        ends = [(k * size, (k + 1) * size) for k in range(PARTS)]
        if self.own:
            return [self._objective(self.data.cut(low, high).data) for low, high in ends], size
        assert self.axes is not None  # noqa: S101
        return [self._objective(take(self.held, self.axes.of, slice(low, high))) for low, high in ends], size

    def _objective(self, data: Any) -> Objective:
        return self._of(lambda: self._loss(data))

    def _of(self, loss: Callable[[], Tensor]) -> Objective:
        kind = ShardedObjective if self.layout.sharded else Objective
        return kind(self.model, loss, self.layout.parameters, self.state)

    def _roots(self) -> dict[str, Any]:
        if isinstance(self.data, Batch):
            return {"model": self.model, "loss": self.data.loss}
        return {"model": self.model, "loss": self.data if callable(self.data) else self.loss_fn}

    def _loss(self, data: Any, model: Any = None, loss: Any = None) -> Tensor:
        model, loss = model or self.model, loss or self._roots()["loss"]
        with _plainly():
            value = self._value(data, model, loss)
        if not isinstance(value, Tensor) or value.numel() != 1:
            came = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"type {type(value).__name__}"
            raise InadmissibleValue(
                f"the loss on the reference has {came}, not one number. Return a mean over the batch."
            )
        return value.reshape(())

    def _value(self, data: Any, model: Any, loss: Any) -> Any:
        if isinstance(self.data, Batch):
            return loss(model, data)
        if callable(self.data):
            return loss(model)
        if isinstance(data, dict):
            output = model(**data)
            return loss(output, data) if loss is not None else carried(output)
        *inputs, target = data
        named = len(inputs) == 1 and isinstance(inputs[0], dict)
        output = model(**inputs[0]) if named else model(*inputs)
        return loss(output, target)


def describe_reference(reference: Reference) -> str:
    """Describe the reference in words."""
    data = reference.data
    if reference.samples:
        return f"the {reference.samples} samples given as reference"
    return (
        f"the function {getattr(data, '__name__', 'reference')}" if callable(data) else "the batch given as reference"
    )


def samples_in(data: Any) -> int:
    """Rows of the first tensor in ``data`` that has any; 0 without one."""
    return next((found[0] for _, found in walk(data)), 0)


def _axes_in_words(axes: Axes) -> str:
    return ", ".join(f"axis {axis} of {named(path)}" for path, axis in axes.of.items())


def _plainly() -> Any:
    """Compiled layers run as they were written: what is compiled has no second derivative."""
    if "torch._dynamo" not in sys.modules:
        return contextlib.nullcontext()
    return torch.compiler.set_stance("force_eager")
