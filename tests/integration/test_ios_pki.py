"""Keys, trustpoints and the certificate server by IOS's dialogs."""

from __future__ import annotations

import re

import pytest

from testbed.deadline import Deadline
from testbed.lab import Lab
from tests.integration.ios_lab import configure, shown, typing

FOLDER = "topologies/moigetech-pki"
LAB = pytest.mark.lab(FOLDER, scope="module")


@LAB
def test_a_trustpoint_is_removed_and_enrolled_anew(lab: Lab) -> None:
    with typing(lab, "kisii") as typist:
        typist.type("configure terminal")
        told = typist.type("no crypto pki trustpoint MOIGETECH", ["no"])
        assert "Removing an enrolled trustpoint will destroy all certificates" in told
        assert "MOIGETECH" in typist.type("do show crypto pki trustpoints")
        assert "Please delete your existing CA certificate first" in typist.type("crypto pki authenticate MOIGETECH")
        typist.type("no crypto pki trustpoint MOIGETECH", ["yes"])
        typist.settle()
        assert typist.type("do show crypto pki certificates") == ""
        assert "is not set, or there is no such trustpoint" in typist.type("crypto pki authenticate MOIGETECH")
        for line in (
            "crypto pki trustpoint MOIGETECH",
            "enrollment url http://192.0.2.6:80",
            "fqdn kisii.moigetech.test",
            "subject-name CN=kisii.moigetech.test, OU=Edge, O=MOIGETECH, C=KE",
            "serial-number none",
            "ip-address none",
            "password once-only",
            "rsakeypair kisii-key 2048",
            "exit",
        ):
            typist.type(line)
        assert "You must authenticate the Certificate Authority before" in typist.type("crypto pki enroll MOIGETECH")
        refused = typist.type("crypto pki authenticate MOIGETECH", ["no"])
        assert "Fingerprint SHA1: " in refused
        assert "accepted" not in refused
        assert "Trustpoint CA certificate accepted." in typist.type("crypto pki authenticate MOIGETECH", ["yes"])
        told = typist.type("crypto pki enroll MOIGETECH", ["yes"])
        assert "Password" not in told
        assert "% The subject name in the certificate will include: kisii.moigetech.test" in told
        assert "commandwill" in told
    assert "%PKI-6-CERTRET: Certificate received from Certificate Authority" in shown(lab, "kisii", "show logging")
    shown(lab, "kisii", "clear crypto session")
    assert "80 percent" in shown(lab, "kisii", "ping 192.168.20.1 source g0/1 timeout 10")


@LAB
def test_keys(lab: Lab) -> None:
    with typing(lab, "kisii") as typist:
        typist.type("configure terminal")
        told = typist.type("crypto key generate rsa general-keys label SPARE", ["9999", "1024"])
        assert "The name for the keys will be: SPARE" in told
        assert "How many bits in the modulus [512]: " in told
        assert "% A decimal number between 360 and 4096." in told
        assert "% Generating 1024 bit RSA keys, keys will be non-exportable..." in told
        kept = typist.type("crypto key generate rsa label SPARE", ["no"])
        assert "Do you really want to replace them? [yes/no]: " in kept
        again = typist.type("crypto key generate rsa modulus 1024 label SPARE exportable")
        assert "% They will be replaced." in again
        assert "Key name: SPARE" in typist.type("do show crypto key mypubkey rsa")
        assert "% Keys to be removed are named 'SPARE'." in typist.type("crypto key zeroize rsa SPARE", ["yes"])
        assert "SPARE" not in typist.type("do show crypto key mypubkey rsa")
        assert "No keys found" in typist.type("crypto key zeroize rsa SPARE")


@LAB
def test_the_server_is_shut_down_and_enabled_again(lab: Lab) -> None:
    before = lab.node("ca").certificate_authority.fingerprint()
    told = configure(lab, "ca", "crypto pki server MOIGETECH-CA", "shutdown")
    assert "Certificate server 'shut' event has been queued for processing." in told
    assert "Status: disabled\n" in shown(lab, "ca", "show crypto pki server")
    assert "is not enabled" in shown(lab, "ca", "crypto pki server MOIGETECH-CA grant all")
    told = configure(lab, "ca", "crypto pki server MOIGETECH-CA", "no shutdown")
    assert "%Some server settings cannot be changed after CA certificate generation." in told
    assert "% Certificate Server enabled." in told
    assert lab.node("ca").certificate_authority.fingerprint() == before
    log = shown(lab, "ca", "show logging")
    assert log.index("%PKI-6-CS_DISABLED") < log.index("%PKI-6-CS_ENABLED")
    configure(lab, "ca", "no ip http server")
    assert "Status: disabled, HTTP Server is disabled" in shown(lab, "ca", "show crypto pki server")
    configure(lab, "ca", "ip http server")
    Deadline(10.0).until(lambda: "Status: enabled" in shown(lab, "ca", "show crypto pki server"), "the server")


@LAB
def test_a_ca_that_cannot_be_reached(lab: Lab) -> None:
    configure(lab, "kisumu", "crypto pki trustpoint FAR", "enrollment url http://192.0.2.77:80")
    with typing(lab, "kisumu") as typist:
        typist.type("configure terminal")
        told = typist.type("crypto pki authenticate FAR")
    assert "% Error in receiving Certificate Authority certificate: status = FAIL, cert length = 0" in told
    assert "%PKI-3-SOCKETSEND: Failed to send out message to CA server." in shown(lab, "kisumu", "show logging")
    configure(lab, "kisumu", "no crypto pki trustpoint FAR")


def granted_by_password(lab: Lab) -> None:
    """Of the CA's operator comes a password that is good once; whose request has it, that one need not wait."""
    assert "% New password is " in shown(lab, "ca", "crypto pki server MOIGETECH-CA password generate")
    told = shown(lab, "ca", "crypto pki server MOIGETECH-CA password generate 75")
    found = re.fullmatch(r"% New password is ([0-9A-F]{16}), valid for 75 minutes\n", told)
    assert found, told
    with typing(lab, "kisii") as typist:
        typist.type("configure terminal")
        typist.type("crypto pki trustpoint MOIGETECH")
        typist.type(f"password {found[1]}")
        typist.type("exit")
        typist.type("crypto pki enroll MOIGETECH", ["yes"])
    Deadline(30.0).until(
        lambda: "Status: Available" in shown(lab, "kisii", "show crypto pki certificates"), "the certificate", every=0.5
    )
    assert "pending" not in shown(lab, "ca", "show crypto pki server MOIGETECH-CA requests")


def test_requests_that_wait_are_rejected_and_granted(lab_name: str) -> None:
    lab = Lab.from_folder(FOLDER, name=lab_name, settings={"grant": "none"}).up()
    requests = shown(lab, "ca", "show crypto pki server MOIGETECH-CA requests")
    assert requests.count("pending") == 2
    number = next(line.split()[0] for line in requests.splitlines() if "kisumu" in line)
    assert "Status: Pending" in shown(lab, "kisumu", "show crypto pki certificates")
    shown(lab, "ca", f"crypto pki server MOIGETECH-CA grant {number}")
    Deadline(30.0).until(
        lambda: "CERTRET" in shown(lab, "kisumu", "show logging"), "the certificate arrives by itself", every=0.5
    )
    assert "Status: Available" in shown(lab, "kisumu", "show crypto pki certificates")
    granted_by_password(lab)
    shown(lab, "ca", "crypto pki server MOIGETECH-CA reject all")
    assert "pending" not in shown(lab, "ca", "show crypto pki server MOIGETECH-CA requests")
    assert "does not exist" in shown(lab, "ca", "show crypto pki server NOBODY certificates")
    assert "pending" not in shown(lab, "ca", "crypto pki server MOIGETECH-CA info requests")
    assert "Invalid input" in shown(lab, "ca", "crypto pki server MOIGETECH-CA revoke zz")
    assert "Key name: MOIGETECH-CA" in shown(lab, "ca", "show crypto key mypubkey rsa")
    told = configure(lab, "ca", "crypto pki server MOIGETECH-CA", "grant auto")
    assert "%" not in told
    assert "%PKI-6-CS_GRANT_AUTO" in shown(lab, "ca", "show logging")
    assert "Granting mode is: auto" in shown(lab, "ca", "show crypto pki server")
    server_is_removed(lab)


def server_is_removed(lab: Lab) -> None:
    """It asks, and with the server goes all that it had."""
    folder = lab.states()["ca"].identity.directory / "nvram" / "ca"
    with typing(lab, "ca") as typist:
        typist.type("configure terminal")
        told = typist.type("no crypto pki server MOIGETECH-CA", ["no"])
        assert "% CA certificate, Keypair, CRL and database files will be deleted." in told
        assert folder.exists()
        typist.type("no crypto pki server MOIGETECH-CA", ["yes"])
        assert "MOIGETECH-CA" not in typist.type("do show running-config | section crypto pki server")
    assert not folder.exists()
