"""Parameters: declared in the topology, set from the command line, never losing a type or a secret."""

from __future__ import annotations

import pytest

from testbed.errors import SettingError, TopologyError
from tests.unit.topologies import loaded

TEXT = """
version: 1
name: parametrised
parameters:
  ike: {choices: [1, 2], default: 2}
  aggressive: {default: false}
  mtu: {default: 1500}
  suffix: {default: corp}
  key: {secret: true, default: default-key}
variants:
  old: {set: {ike: 1, aggressive: true}}
  small: {set: {mtu: 1400}}
nodes:
  one: {role: router, hostname: "one-${suffix}"}
  two: {role: router, hostname: "$${suffix}-two"}
links:
  wire: {ends: ["one:wan", "two:wan"], zone: public, mtu: "${mtu}"}
ipsec:
  tunnel:
    version: ${ike}
    aggressive: ${aggressive}
    authentication: {secret: "${key}"}
    peers:
      one: {interface: wan, protects: [10.1.0.0/16]}
      two: {interface: wan, protects: [10.2.0.0/16]}
"""
SECRET = ("ipsec", "tunnel", "authentication", "secret")
GOOD = TEXT.replace('"$${suffix}-two"', '"two"')


def test_defaults_keep_their_types() -> None:
    topology = loaded(GOOD).topology
    assert topology.ipsec["tunnel"].version == 2
    assert topology.ipsec["tunnel"].aggressive is False
    assert topology.links["wire"].mtu == 1500
    assert topology.nodes["one"].hostname == "one-corp"


def test_settings_win_over_variants_and_variants_over_defaults() -> None:
    topology = loaded(GOOD, variants=["old", "small"], settings={"mtu": "1300"}).topology
    assert topology.ipsec["tunnel"].version == 1
    assert topology.ipsec["tunnel"].aggressive is True
    assert topology.links["wire"].mtu == 1300


def test_a_doubled_dollar_is_no_reference() -> None:
    with pytest.raises(TopologyError, match=r"'\$\{suffix\}-two' does not fit here"):
        loaded(TEXT)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"ike": "3"}, "parameter 'ike' cannot be '3'"),
        ({"ike": "two"}, "expected: one of 1, 2"),
        ({"mtu": "jumbo"}, "expected: a whole number"),
        ({"aggressive": "maybe"}, "expected: true or false"),
        ({"ikee": "1"}, "did you mean 'ike'"),
        ({"key": "in-clear"}, "cannot be set in clear"),
        ({"key": "env:"}, "cannot be set in clear"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingError, match=complaint) as caught:
        loaded(GOOD, settings=settings)
    assert "in-clear" not in str(caught.value)


def test_an_unknown_variant() -> None:
    with pytest.raises(SettingError, match="did you mean 'small'"):
        loaded(GOOD, variants=["smal"])


def test_a_secret_from_the_environment() -> None:
    made = loaded(GOOD, settings={"key": "env:PSK"}, environ={"PSK": "from-env"})
    assert made.secrets[SECRET].reveal() == b"from-env"
    assert "from-env" not in repr(made)
    assert "default-key" not in repr(made)


def test_a_secret_in_the_wrong_place_is_not_shown() -> None:
    with pytest.raises(TopologyError) as caught:
        loaded(GOOD.replace('mtu: "${mtu}"', 'mtu: "${key}"'))
    assert "a secret does not fit here" in str(caught.value)
    assert "default-key" not in str(caught.value)


def test_without_secrets_nothing_is_read() -> None:
    made = loaded(GOOD.replace('secret: "${key}"', "secret: {env: NOT_SET}"), with_secrets=False, environ={})
    assert set(made.secrets) == {SECRET}
