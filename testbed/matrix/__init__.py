"""Every combination of versions, credentials and algorithms on two routers that stay up, negotiated and tried."""

from testbed.matrix.cells import FEATURES, Axes, Cell, cells, impossible, sweep
from testbed.matrix.report import to_html, to_junit
from testbed.matrix.run import Outcome, run_matrix

__all__ = [
    "FEATURES",
    "Axes",
    "Cell",
    "Outcome",
    "cells",
    "impossible",
    "run_matrix",
    "sweep",
    "to_html",
    "to_junit",
]
