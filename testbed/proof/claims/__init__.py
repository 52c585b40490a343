"""What a tunnel promises, each with the adversary who tries it."""

from testbed.proof.claims.addresses import hidden_addresses
from testbed.proof.claims.authentication import authentication
from testbed.proof.claims.confidentiality import confidentiality
from testbed.proof.claims.confinement import key_confinement
from testbed.proof.claims.integrity import integrity
from testbed.proof.claims.leak import no_leak
from testbed.proof.claims.replay import anti_replay
from testbed.proof.claims.secrecy import forward_secrecy

__all__ = [
    "anti_replay",
    "authentication",
    "confidentiality",
    "forward_secrecy",
    "hidden_addresses",
    "integrity",
    "key_confinement",
    "no_leak",
]
