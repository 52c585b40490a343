"""The smallest lab with certificates: two CAs and two routers on one LAN, with clocks that nothing sets."""

from __future__ import annotations

from pathlib import Path

PKI = """
version: 1
name: pki
nodes:
  ca:
    role: router
    certificate_server: {{name: LAB-CA, issuer_name: "CN=ca.lab.test, O=Lab, C=KE", grant: {grant}, {ca}}}
  other:
    role: router
    certificate_server: {{name: OTHER-CA, issuer_name: "CN=other.lab.test, O=Other", grant: auto}}
  one:
    role: router
    clock: {clock}
    loopbacks: {{lo0: [10.1.0.1/24]}}
    routes: [{{to: 10.2.0.0/24, via: two}}]
    trustpoints:
      LAB: {{server: ca, fqdn: one.lab.test, {trustpoint}}}
  two:
    role: router
    clock: {{offset: 0}}
    loopbacks: {{lo0: [10.2.0.1/24]}}
    routes: [{{to: 10.1.0.0/24, via: one}}]
    trustpoints:
      LAB: {{server: ca, fqdn: two.lab.test, {trustpoint}}}
      FOREIGN: {{server: other, fqdn: two.lab.test, {trustpoint}}}
links:
  lan: {{ends: ["ca:eth0", "other:eth0", "one:wan", "two:wan"], prefixes: [203.0.113.0/24], zone: public}}
ipsec:
  vpn:
    version: {ike}
    authentication: {{method: {method}}}
    peers:
      one: {{interface: wan, protects: [10.1.0.0/24], identity: {identity}}}
      two: {{interface: wan, protects: [10.2.0.0/24], identity: {identity}, trustpoint: {of_two}}}
expectations:
  - {{expect: certificate, nodes: one}}
  - {{expect: tunnel, connection: vpn}}
"""
DEFAULTS = {
    "grant": "auto",
    "ca": "lifetime: {crl: 1h}",
    "clock": "{offset: 0}",
    "trustpoint": "revocation_check: crl",
    "ike": "2",
    "method": "rsa-sig",
    "identity": "null",
    "of_two": "LAB",
}


def write_pki(folder: Path, **changes: str) -> Path:
    """A folder with that lab, changed."""
    folder.mkdir(exist_ok=True)
    (folder / "topology.yaml").write_text(PKI.format(**{**DEFAULTS, **changes}))
    return folder
