"""Distinguished names as they are written in a topology, and as they stand in certificates."""

from __future__ import annotations

import pytest
from cryptography import x509

from testbed.names import parse_name, show_name
from testbed.pki import ber
from testbed.pki.names import attributes, encode_name, ios_name
from testbed.pki.names import show_name as show_encoded

TEXT = "CN=kisii.example.test, OU=Edge, O=Example Ltd., L=Kisii, C=KE, serialNumber=FTX1, E=a@b.test, DC=test"


def test_a_name_reads_back() -> None:
    name = parse_name(TEXT)
    assert show_name(name) == TEXT
    assert show_encoded(ber.parse(encode_name(name))) == TEXT


def test_types_are_known_in_any_case() -> None:
    assert parse_name("cn=a,UNSTRUCTUREDNAME=b") == (("CN", "a"), ("unstructuredName", "b"))


@pytest.mark.parametrize("text", ["", "CN", "CN=", "X=a", "CN=a,,O=b", "CN=a/b", 'CN="a"', "CN=a+O=b", "C=Kenya"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"attribute|value|country"):
        parse_name(text)


def test_another_library_reads_what_is_written() -> None:
    subject = x509.Name.from_rfc4514_string("CN=kisii,O=MOIGETECH,C=KE")
    assert ios_name(ber.parse(subject.public_bytes())) == "c=KE,o=MOIGETECH,cn=kisii"
    assert attributes(ber.parse(encode_name([("CN", "ä")]))) == [("2.5.4.3", "ä")]
