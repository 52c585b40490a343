"""Claims about a live lab, and what shows whether they hold."""

from testbed.verify.live import LiveLab
from testbed.verify.verdict import Phase, Verdict
from testbed.verify.verifier import Verifier

__all__ = ["LiveLab", "Phase", "Verdict", "Verifier"]
