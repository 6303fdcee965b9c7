"""One pass over memory: a pure function of one tensor, traced, written out as C++, compiled, run on many tensors.

The function stays the only place of its rule. What is compiled does the same operations in the same order, each
rounded once, so that its results are those of torch's own operations bit for bit.
"""

from thetadot.fusion.blocks import Blocks
from thetadot.fusion.kernel import Kernel
from thetadot.fusion.numbers import flatten, structure
from thetadot.fusion.program import Array, Program, trace

__all__ = ["Array", "Blocks", "Kernel", "Program", "flatten", "structure", "trace"]
