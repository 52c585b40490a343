"""Values survive the configuration languages they are written in."""

from __future__ import annotations

import base64
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.render.escape import nft_address, nft_string, samba_value, strongswan_secret, strongswan_string


def read_strongswan(text: str) -> str:
    """What strongSwan's lexer makes of a quoted string: settings_lexer.l, state `str`."""
    assert text[0] == text[-1] == '"'
    out, inner = [], iter(text[1:-1])
    for letter in inner:
        assert letter not in '"\n'
        if letter == "\\":
            following = next(inner)
            out.append({"n": "\n", "r": "\r", "t": "\t"}.get(following, following))
        else:
            out.append(letter)
    return "".join(out)


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_text_survives_quoting(text: str) -> None:
    assert read_strongswan(strongswan_string(text)) == text


def test_a_nul_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="NUL"):
        strongswan_string("a\0b")


@given(st.binary(min_size=1))
def test_any_secret_survives(secret: bytes) -> None:
    written = strongswan_secret(secret)
    assert written.startswith("0s")
    assert base64.b64decode(written[2:], validate=True) == secret
    assert not set(written) & set("\"'{}#\n\\ ")


@pytest.mark.parametrize("name", ["wan", "eth0.100", "br-lan_1"])
def test_interface_names(name: str) -> None:
    assert nft_string(name) == f'"{name}"'


@pytest.mark.parametrize("name", ['w"an', "a b", "", "x" * 16, "a;drop", "a\n"])
def test_what_nft_cannot_write_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        nft_string(name)


@pytest.mark.parametrize("name", ["docs\n[evil]", "a%b", "a;b", "", "a=b"])
def test_what_samba_would_read_otherwise_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        samba_value(name)


def test_addresses() -> None:
    assert nft_address(ipaddress.ip_network("2001:db8::/32")) == "2001:db8::/32"
