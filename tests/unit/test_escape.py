"""Values survive the configuration languages they are written in."""

from __future__ import annotations

import base64
import ipaddress
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.render.escape import (
    chrony_key,
    nft_address,
    nft_string,
    pki_option,
    samba_value,
    shell_assignment,
    strongswan_secret,
    strongswan_string,
)


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


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=40))
def test_an_option_of_pki_reads_back(value: str) -> None:
    """By the rules of optionsfrom.c: a token ends at the quote that it began with, or at a blank."""
    try:
        line = pki_option("password", value)
    except ValueError:
        assert '"' in value
        assert "'" in value
        return
    rest = line.removeprefix("--password ").removesuffix("\n")
    if rest[0] in "\"'":
        assert rest[1:].index(rest[0]) == len(rest) - 2
        assert rest[1:-1] == value
    else:
        assert not any(letter.isspace() for letter in rest)
        assert rest == value


@pytest.mark.parametrize("value", ["", "a\nb", "a\0b", "both \" and '"])
def test_what_cannot_be_an_option_of_pki(value: str) -> None:
    with pytest.raises(ValueError, match="option of pki"):
        pki_option("password", value)


@given(st.text(max_size=40).filter(lambda text: "\0" not in text and "\r" not in text))
def test_a_shell_reads_back_an_assignment(value: str) -> None:
    assert shlex.split(shell_assignment("name", value)) == [f"name={value}"]


def test_keys_of_chrony_are_hexadecimal() -> None:
    assert chrony_key(20, "md5", b'a "b"') == "20 MD5 HEX:6120226222\n"
    assert chrony_key(7, "aes128", b"00" * 16) == f"7 AES128 HEX:{'00' * 16}\n"
