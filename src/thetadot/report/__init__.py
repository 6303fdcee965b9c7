"""A run record as one page: a pure function of the record, which needs neither torch nor a network."""

from thetadot.report.page import render, write

__all__ = ["render", "write"]
