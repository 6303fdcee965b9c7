"""An objective of narrow parameters (bfloat16, float16), computed in float32.

A Hessian-vector product rounded to eight bits has errors of the size of what an interval of λmax is to tell. So the
loss is taken on float32 copies that stand in the places of parameters and buffers while it is computed, and whatever
else is narrow is widened as it enters or leaves an operation: inputs, constants, explicit casts. autocast inside is
off.
Exact: the loss of the model whose parameters have the same values and whose arithmetic is float32's.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from thetadot.probes.reference import Objective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from thetadot.probes.reference import State

NARROW = (torch.bfloat16, torch.float16)


def narrow(tensors: Sequence[Tensor]) -> bool:
    """Whether any is of a dtype that curvature is not measured in.

    Example:
        >>> narrow([torch.zeros(2)]), narrow([torch.zeros(2), torch.zeros(2, dtype=torch.bfloat16)])
        (False, True)
    """
    return any(tensor.dtype in NARROW for tensor in tensors)


class WideObjective(Objective):
    """An objective in float32; its parameters are copies, made when it is.

    Args:
        model: as for :class:`~thetadot.probes.Objective`.
        loss: as there; it calls the model.
        parameters: those to differentiate by.
        state: as there.

    Example:
        >>> model = nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
        >>> objective = WideObjective(model, lambda: 1.5 * model(torch.ones(1, 1, dtype=torch.bfloat16)).square().sum(),
        ...                           list(model.parameters()))
        >>> with objective.hessian() as product:
        ...     product(torch.ones(1))
        tensor([3.])
        >>> model.weight.dtype
        torch.bfloat16
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[], Tensor],
        parameters: Sequence[Tensor],
        state: Callable[[], State] | None = None,
    ) -> None:
        self.copies: dict[int, Tensor] = {}
        for p in (*parameters, *model.parameters()):
            if id(p) not in self.copies:
                wide = p.detach().float() if p.dtype in NARROW else p.detach().clone()
                self.copies[id(p)] = nn.Parameter(wide, p.requires_grad)
        super().__init__(model, loss, [self.copies[id(p)] for p in parameters], state)

    @contextmanager
    def still(self, state: State | None = None) -> Iterator[None]:
        """Open the context in which wide copies replace the parameters."""
        with super().still(state), self._swapped(), _Widening(self.copies):
            yield

    @contextmanager
    def _swapped(self) -> Iterator[None]:
        with ExitStack() as after:
            for module in self.model.modules():
                for space in (module._parameters, module._buffers):  # noqa: SLF001 - attributes would register anew
                    held: dict[str, Any] = space
                for name, tensor in list(held.items()):
                    if tensor is None:
                        continue
                    wide = self.copies.get(id(tensor))
                    if wide is None and tensor.dtype in NARROW:
                        wide = tensor.float()
                    if wide is not None:
                        after.callback(held.__setitem__, name, tensor)
                        held[name] = wide
                flat: Any = module.__dict__.get("_flat_weights")  # recurrent layers hold their parameters twice
                if isinstance(flat, list):
                    after.callback(flat.__setitem__, slice(None), list(flat))
                    flat[:] = [self.copies.get(id(w), w) for w in flat]
            yield


class _Widening(TorchFunctionMode):
    """Every operation takes and gives float32 where it had a narrow dtype."""

    def __init__(self, copies: dict[int, Tensor]) -> None:
        super().__init__()
        self.copies = copies

    def __torch_function__(self, function: Any, _kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "")
        if args and isinstance(args[0], Tensor) and args[0].dtype in NARROW and name.endswith("_") and name[:1] != "_":
            raise RuntimeError(f"a narrow tensor is written in place by {name}, which has no float32 copy")
        if function in _GETTERS:
            return function(*args, **kwargs)
        if function in (Tensor.bfloat16, Tensor.half):
            function, args, kwargs = Tensor.float, args[:1], {}
        args, kwargs = tree_map(self._wide, args), tree_map(self._wide, kwargs)
        with ExitStack() as around:
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):
                    around.enter_context(torch.autocast(kind, enabled=False))
            found = function(*args, **kwargs)
        return tree_map(self._wide, found)

    def _wide(self, value: Any) -> Any:
        if isinstance(value, torch.dtype) and value in NARROW:
            return torch.float32
        if not isinstance(value, Tensor):
            return value
        copy = self.copies.get(id(value))
        if copy is not None:
            return copy
        return value.float() if value.dtype in NARROW else value


_KIND: Any = Tensor
_GETTERS = frozenset(
    {*(getattr(_KIND, name).__get__ for name in ("requires_grad", "grad", "is_leaf", "shape", "device")), _KIND.dim,
     _KIND.size, _KIND.numel}
)  # fmt: skip


class Casting(TorchFunctionMode):
    """Notes whether anything inside is computed under autocast."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_function__(self, function: Any, _kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen = self.seen or torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
        return function(*args, **(kwargs or {}))
