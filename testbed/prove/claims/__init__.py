"""What a tunnel promises, each with the adversary who tries it."""

from testbed.prove.claims.addresses import hidden_addresses
from testbed.prove.claims.authentication import authentication
from testbed.prove.claims.confidentiality import confidentiality
from testbed.prove.claims.confinement import key_confinement
from testbed.prove.claims.integrity import integrity
from testbed.prove.claims.leak import no_leak
from testbed.prove.claims.replay import anti_replay
from testbed.prove.claims.secrecy import forward_secrecy

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
