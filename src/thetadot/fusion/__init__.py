"""Fused kernels: a pure function of one tensor, traced, written as C++, compiled, run over many tensors in one pass.

The function stays the only place of its rule. What is compiled does the same operations in the same order, each
rounded once, so that its results are those of torch's own operations bit for bit.
"""

from thetadot.fusion.blocks import Blocks
from thetadot.fusion.kernel import Kernel
from thetadot.fusion.nested_numbers import flatten, structure
from thetadot.fusion.program import Array, Program, trace

__all__ = ["Array", "Blocks", "Kernel", "Program", "flatten", "structure", "trace"]
