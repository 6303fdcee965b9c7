"""The report: one self-contained page about a record or several, without a network."""

from thetadot.report.files import put, write
from thetadot.report.page import render

__all__ = ["put", "render", "write"]
