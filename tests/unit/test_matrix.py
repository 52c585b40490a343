"""The combinations of a matrix, those that cannot be, and its reports."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from testbed.daemons.keywords import matches_proposal
from testbed.errors import SettingError
from testbed.matrix import FEATURES, Axes, Cell, Outcome, cells, impossible, sweep, to_html, to_junit
from testbed.matrix.cells import AUTHENTICATIONS, VERSIONS
from testbed.topology.proposals import KEY_EXCHANGE, check_proposal

BASE = Cell("ikev2", "psk", "aes256-sha256-modp2048", "aes256-sha256", pfs=True)


def test_all_combinations_in_a_fixed_order() -> None:
    found = list(cells(Axes(versions=("ikev1-main", "ikev2"), pfs=(True, False))))
    assert len(found) == len(set(found)) == 2 * 2 * 1 * 2 * 2
    assert found == list(cells(Axes(versions=("ikev1-main", "ikev2"), pfs=(True, False))))
    assert str(found[0]) == "ikev1-main, psk, IKE aes256-sha256-modp2048, ESP aes256-sha256, pfs"


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (Axes(versions=("ikev3",)), "there is no version 'ikev3'"),
        (Axes(authentications=("rsa",)), "there is no authentication 'rsa'"),
        (Axes(features=("nat",)), "there is no feature 'nat'"),
        (Axes(ike=("aes256-sha265-modp2048",)), "ike proposal 'aes256-sha265-modp2048'"),
        (Axes(esp=("aes256gcm16-sha256",)), "esp proposal 'aes256gcm16-sha256'"),
    ],
)
def test_what_no_axis_has_is_refused(axes: Axes, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        list(cells(axes))


def test_forward_secrecy_takes_the_group_of_the_ike_sa() -> None:
    assert BASE.esp_proposal == "aes256-sha256-modp2048"
    assert Cell("ikev2", "psk", BASE.ike, BASE.esp, pfs=False).esp_proposal == "aes256-sha256"


def test_a_sweep_has_every_value_of_every_axis_by_every_version() -> None:
    found = list(sweep())
    assert len(found) == len(set(found))
    for version in VERSIONS:
        mine = [cell for cell in found if cell.version == version]
        assert {cell.authentication for cell in mine} == set(AUTHENTICATIONS)
        assert {cell.feature for cell in mine} == set(FEATURES)
        assert {cell.pfs for cell in mine} == {True, False}
        assert {group for cell in mine for group in cell.groups} == KEY_EXCHANGE
    for cell in found:
        assert check_proposal(cell.ike, "ike") is None
        assert check_proposal(cell.esp_proposal, "esp") is None


@pytest.mark.parametrize(
    ("changes", "dataplane", "reason"),
    [
        ({}, "userspace", None),
        ({"version": "ikev1-main", "ike": "aes256gcm16-prfsha256-modp2048"}, "kernel", "RFC 5282"),
        ({"version": "ikev1-main", "esp": "aes256gcm16"}, "kernel", None),
        ({"version": "ikev1-main", "esp": "chacha20poly1305"}, "kernel", "IKEv1 has no number"),
        ({"version": "ikev1-main", "authentication": "ed25519"}, "kernel", "RFC 8420"),
        ({"version": "ikev1-aggressive", "feature": "mobike"}, "kernel", "RFC 4555"),
        ({"version": "ikev1-aggressive", "feature": "narrowing"}, "kernel", "narrows nothing"),
        ({"feature": "narrowing"}, "kernel", None),
        ({"feature": "transport"}, "userspace", "tunnel mode only"),
        ({"feature": "transport"}, "kernel", None),
        ({"feature": "compression"}, "userspace", "no IPComp"),
        ({"feature": "fragmentation"}, "kernel", "without certificates"),
    ],
)
def test_what_cannot_be_has_a_reason(changes: dict[str, str], dataplane: str, reason: str | None) -> None:
    told = impossible(Cell(**{**BASE.__dict__, **changes}), dataplane)
    assert told is None if reason is None else reason in (told or "")


@pytest.mark.parametrize(
    ("negotiated", "configured"),
    [
        ("aes256-sha256-prfsha256-modp2048s256", "aes256-sha256-modp2048s256"),
        ("aes256-sha256-prfsha256-curve25519", "aes256-sha256-x25519"),
    ],
)
def test_groups_by_either_name(negotiated: str, configured: str) -> None:
    assert matches_proposal(negotiated, configured)


OUTCOMES = [
    Outcome(BASE, "passed", "", "aes256-sha256-prfsha256-modp2048", "aes256-sha256", 8.25),
    Outcome(BASE, "failed", 'near: <b>"no"</b>\x1b[31m &', "", "", 3.0),
    Outcome(BASE, "impossible", "kernel-libipsec has no IPComp"),
]


def test_junit_counts_and_is_xml_whatever_the_reasons() -> None:
    root = ElementTree.fromstring(to_junit(OUTCOMES, "matrix"))  # noqa: S314 - our own
    assert {key: root.get(key) for key in ("tests", "failures", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "1",
    }
    assert root[0].get("time") == "0.0083"
    failure = root[1].find("failure")
    assert failure is not None
    assert failure.get("message") == 'near: <b>"no"</b>?[31m &'


def test_the_page_escapes_what_daemons_said() -> None:
    page = to_html(OUTCOMES, "Tunnels of <lab>")
    assert "1 passed" in page
    assert "<b>" not in page
    assert "Tunnels of &lt;lab&gt;" in page
