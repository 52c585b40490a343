"""Secrets come from where they are said to be, literally, and never show themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from testbed.topology.secrets import SecretSource, SecretValue, resolve_secret

NOWHERE = Path("/nonexistent")


@pytest.mark.parametrize("text", ["0xdeadbeef", "0sAAAA", 'with "quotes"', "a{b}", "a\nb", "# no comment", "clé", " "])
def test_text_is_taken_literally(text: str) -> None:
    assert resolve_secret(text, NOWHERE, {}).reveal() == text.encode()


def test_from_the_environment() -> None:
    assert resolve_secret(SecretSource(env="PSK"), NOWHERE, {"PSK": "from-env"}).reveal() == b"from-env"


def test_from_a_file_without_its_final_newline(tmp_path: Path) -> None:
    (tmp_path / "psk").write_bytes(b"two\nlines\n")
    assert resolve_secret(SecretSource(file="psk"), tmp_path, {}).reveal() == b"two\nlines"


@pytest.mark.parametrize(
    ("encoding", "written", "meant"),
    [
        ("hex", "0x00ff10", b"\x00\xff\x10"),
        ("hex", "00ff10", b"\x00\xff\x10"),
        ("base64", "0sAP8Q", b"\x00\xff\x10"),
        ("base64", "AP8Q", b"\x00\xff\x10"),
    ],
)
def test_encodings(encoding: str, written: str, meant: bytes) -> None:
    source = SecretSource(env="PSK", encoding=encoding)
    assert resolve_secret(source, NOWHERE, {"PSK": written}).reveal() == meant


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (SecretSource(env="PSK"), "PSK is not set"),
        (SecretSource(file="psk"), "cannot read /nonexistent/psk"),
        (SecretSource(env="EMPTY"), "EMPTY is empty"),
        (SecretSource(env="ODD", encoding="hex"), "does not hold hex"),
        (SecretSource(env="ODD", encoding="base64"), "does not hold base64"),
    ],
)
def test_what_cannot_be_had_is_said_without_the_secret(source: SecretSource, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        resolve_secret(source, NOWHERE, {"EMPTY": "", "ODD": "no!"})
    assert "no!" not in str(caught.value)


@pytest.mark.parametrize("fields", [{}, {"env": "A", "file": "b"}])
def test_exactly_one_source(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SecretSource(**fields)


def test_a_secret_does_not_show_itself() -> None:
    secret = SecretValue(b"hush")
    shown = f"{secret} {secret!r} {[secret]} {{'k': {secret}}} %s" % secret
    assert "hush" not in shown
    assert secret == SecretValue(b"hush")
    assert len({secret, SecretValue(b"hush")}) == 1
