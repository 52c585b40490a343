"""Proofs: the promises of a live tunnel, each tried by an adversary who means it, with the evidence."""

from testbed.proof.prover import CLAIMS, Claim, prove
from testbed.proof.result import Proof
from testbed.proof.scene import Scene, find_scene

__all__ = ["CLAIMS", "Claim", "Proof", "Scene", "find_scene", "prove"]
