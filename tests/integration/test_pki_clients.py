"""The certificate authority and other people's clients, as Debian packages them; and a linter for what it issues."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.lab import Lab, Node
from testbed.pki.ber import BerError
from testbed.pki.pem import from_pem
from testbed.pki.x509 import Certificate, read_certificate

TOPOLOGY = """
version: 1
name: clients
parameters:
  ra: {{default: false}}
  grant: {{default: auto}}
nodes:
  ca:
    role: router
    certificate_server:
      name: LAB-CA
      issuer_name: CN=ca.lab.test, O=Lab, C=KE
      grant: ${{grant}}
      challenge: let-me-in
      legacy: {legacy}
      ra: ${{ra}}
  client: {{role: router, image: clients}}
links:
  lan: {{ends: ["ca:eth0", "client:eth0"], prefixes: [203.0.113.0/24], zone: public}}
"""
URL = "http://203.0.113.1/scep"
PASSWORD = "let-me-in"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("clients")
    (folder / "topology.yaml").write_text(TOPOLOGY.format(legacy="true"))
    with Lab.from_folder(folder, name=f"t-{uuid.uuid4().hex[:10]}").up() as made:
        yield made


@pytest.fixture
def client(lab: Lab) -> Client:
    return Client(lab.node("client"))


class Client:
    """A shell in the client's node, in a folder of its own for each test."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.folder = f"/tmp/{uuid.uuid4().hex[:8]}"
        self.run(f"mkdir {self.folder}", where="/")
        self.run(f"pki --scepca --url {URL} --caout ca.pem --outform pem --force 2>&1; cat ca.pem")

    def run(self, script: str, *, where: str | None = None, expect: int | None = 0) -> str:
        """What a script says on standard output and error; its exit code must be the expected one, if there is one."""
        argv = ["timeout", "60", "sh", "-c", f"cd {where or self.folder} && {{ {script}\n}} 2>&1"]
        done = self.node.execute(argv)
        assert expect in (None, done.exit_code), f"{script}: exit code {done.exit_code}\n{done.text}"
        return done.text

    def certificate(self, name: str) -> Certificate:
        data = self.node.execute(["cat", f"{self.folder}/{name}"], check=True).stdout
        try:
            return read_certificate(from_pem(data))
        except BerError:
            return read_certificate(data)

    def accepted(self, name: str) -> bool:
        """What OpenSSL says of a certificate, its chain, and the CRL that it names."""
        command = f"openssl verify -CAfile ca.pem -crl_check -crl_download -x509_strict {name}"
        return f"{name}: OK" in self.run(command, expect=None)


def serial_by_subject(lab: Lab, name: str) -> int:
    (found,) = (item for item in lab.node("ca").certificate_authority.certificates() if f"CN={name}" in item["subject"])
    return int(found["serial"])


# -- strongSwan's pki


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("cipher", ["aes", "des3"])
def test_pki(client: Client, cipher: str, digest: str) -> None:
    client.run("pki --gen --type rsa --size 2048 --outform pem > key.pem")
    client.run(
        f"pki --scep --url {URL} --in key.pem --dn 'C=KE, O=Lab, CN=pki-{cipher}-{digest}' --san {digest}.lab.test "
        f"--password {PASSWORD} --cacert-enc ca.pem --cacert-sig ca.pem --cipher {cipher} --digest {digest} "
        "--outform pem > own.pem"
    )
    assert client.accepted("own.pem")


def test_pki_with_pss(client: Client) -> None:
    client.run("pki --gen --type rsa --size 2048 --outform pem > key.pem")
    client.run(
        f"pki --scep --url {URL} --in key.pem --dn CN=pss --password {PASSWORD} "
        "--cacert-enc ca.pem --cacert-sig ca.pem --rsa-padding pss --outform pem > own.pem"
    )
    assert client.accepted("own.pem")


def test_pki_is_refused_without_the_password(client: Client) -> None:
    client.run("pki --gen --type rsa --size 2048 --outform pem > key.pem")
    told = client.run(
        f"pki --scep --url {URL} --in key.pem --dn CN=no --cacert-enc ca.pem --cacert-sig ca.pem > own.pem", expect=1
    )
    assert "badRequest" in told


# -- micromdm's scepclient, which knows DES alone


def scepclient(client: Client, name: str, password: str, expect: int = 0) -> str:
    return client.run(
        f"scepclient -server-url {URL} -private-key key.pem -certificate own.pem -challenge {password} -cn {name} "
        f"-organization Lab -country KE -dnsname {name}.lab.test -keySize 2048",
        expect=expect,
    )


def test_scepclient(client: Client) -> None:
    scepclient(client, "micromdm", PASSWORD)
    first = client.certificate("own.pem")
    assert client.accepted("own.pem")
    scepclient(client, "micromdm", PASSWORD)  # with a certificate there, that is a renewal
    assert client.certificate("own.pem").serial > first.serial


def test_scepclient_with_a_wrong_password(client: Client) -> None:
    assert "badRequest" in scepclient(client, "guesser", "wrong", expect=1)


def test_scepclient_needs_the_legacy_mode(tmp_path: Path, lab_name: str) -> None:
    (tmp_path / "topology.yaml").write_text(TOPOLOGY.format(legacy="false"))
    lab = Lab.from_folder(tmp_path, name=lab_name).up()
    assert "badAlg" in scepclient(Client(lab.node("client")), "old", PASSWORD, expect=1)


# -- certmonger, the daemon


def certmonger(client: Client, script: str) -> str:
    """A script with a certmonger of its own beside it, started by a session bus."""
    client.node.execute(["tee", f"{client.folder}/script.sh"], stdin=f"set -e\n{script}\n".encode(), check=True)
    return client.run("export HOME=$PWD; dbus-run-session -- sh script.sh")


ADD_CA = f"getcert add-scep-ca -s -c lab -u {URL} -N $PWD/ca.pem"
REQUEST = (
    "getcert request -s -c lab -I r1 -k $PWD/key.pem -f $PWD/own.pem -F $PWD/chain.pem -N CN=certmonger,O=Lab "
    f"-D certmonger.lab.test -L {PASSWORD} -G rsa -g 2048 -w --wait-timeout 20 -v"
)


def test_certmonger_enrols_resubmits_and_rekeys(client: Client) -> None:
    told = certmonger(
        client,
        f"{ADD_CA}\n{REQUEST}\ncp own.pem first.pem\n"
        "getcert resubmit -s -i r1 -w --wait-timeout 20 -v\ncp own.pem second.pem\n"
        "getcert rekey -s -i r1 -w --wait-timeout 20 -v\ngetcert list -s -i r1",
    )
    assert "status: MONITORING" in told
    first, second, third = (client.certificate(f"{name}.pem") for name in ("first", "second", "own"))
    assert first.serial < second.serial < third.serial
    assert first.spki == second.spki != third.spki
    assert client.accepted("own.pem")


def test_certmonger_is_told_that_it_was_rejected(client: Client) -> None:
    script = REQUEST.replace(PASSWORD, "wrong").replace("CN=certmonger", "CN=rejected").replace("-w ", "-w ")
    told = certmonger(client, f"{ADD_CA}\n{script} || getcert list -s -i r1")
    assert "status: CA_REJECTED" in told


# -- OpenSSL and curl


def test_ocsp_and_crl_by_openssl(lab: Lab, client: Client) -> None:
    client.run("pki --gen --type rsa --size 2048 --outform pem > key.pem")
    client.run(
        f"pki --scep --url {URL} --in key.pem --dn CN=revoke-me --password {PASSWORD} --cacert-enc ca.pem "
        "--cacert-sig ca.pem --outform pem > own.pem"
    )

    def asked(options: str = "") -> str:
        url = "-url http://203.0.113.1/ocsp"
        return client.run(f"openssl ocsp {options} -issuer ca.pem -cert own.pem -CAfile ca.pem {url}")

    for options in ("", "-no_nonce", "-sha256"):
        told = asked(options)
        assert "Response verify OK" in told
        assert "own.pem: good" in told
    unknown = client.run("openssl ocsp -issuer ca.pem -serial 0x7777 -CAfile ca.pem -url http://203.0.113.1/ocsp")
    assert "0x7777: unknown" in unknown
    lab.node("ca").certificate_authority.revoke(serial_by_subject(lab, "revoke-me"), 1)
    told = asked()
    assert "own.pem: revoked" in told
    assert "Reason: keyCompromise" in told
    assert not client.accepted("own.pem")
    crl = client.run(
        "curl -sS http://203.0.113.1/LAB-CA.crl | openssl crl -inform DER -noout -CAfile ca.pem -nextupdate"
    )
    assert "verify OK" in crl


def test_est_by_curl(client: Client) -> None:
    client.run(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -subj /CN=curl "
        "-outform DER -out request.der && openssl base64 -A -in request.der > request"
    )
    est = "curl -sS -f --cacert ca.pem"
    header = "-H 'Content-Type: application/pkcs10' --data-binary @request"
    url = "https://203.0.113.1/.well-known/est"
    client.run(f"{est} {url}/cacerts | openssl base64 -d -A | openssl pkcs7 -inform DER -print_certs > got.pem")
    assert client.certificate("got.pem").der == client.certificate("ca.pem").der
    client.run(f"{est} -u x:wrong {header} {url}/simpleenroll", expect=22)
    to_pem = "openssl base64 -d -A | openssl pkcs7 -inform DER -print_certs"
    client.run(f"{est} -u x:{PASSWORD} {header} {url}/simpleenroll | {to_pem} > own.pem")
    assert client.accepted("own.pem")
    client.run(f"{est} --cert own.pem --key key.pem {header} {url}/simplereenroll | {to_pem} > next.pem")
    assert client.certificate("next.pem").serial > client.certificate("own.pem").serial


# -- pkilint, on this machine


def findings(program: str, data: bytes, tmp_path: Path, *options: str) -> list[object]:
    path = tmp_path / "document"
    path.write_bytes(data)
    argv = [str(Path(sys.executable).with_name(program)), "lint", *options, "-s", "WARNING", "-f", "JSON", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return list(json.loads(done.stdout)["results"])


def test_what_is_issued_is_clean(lab: Lab, client: Client, tmp_path: Path) -> None:
    client.run("pki --gen --type rsa --size 2048 --outform pem > key.pem")
    client.run(
        f"pki --scep --url {URL} --in key.pem --dn 'C=KE, O=Lab, CN=clean' --san clean.lab.test --san 203.0.113.2 "
        f"--password {PASSWORD} --cacert-enc ca.pem --cacert-sig ca.pem --outform pem > own.pem"
    )
    for item in lab.node("ca").certificate_authority.certificates():
        assert findings("lint_pkix_cert", item["pem"].encode(), tmp_path) == [], item["subject"]
    for number in range(2):
        crl = client.run("curl -sS http://203.0.113.1/LAB-CA.crl | base64 -w0")
        assert findings("lint_crl", base64.b64decode(crl), tmp_path, "-t", "CRL", "-p", "PKIX") == []
        client.run(
            "openssl ocsp -issuer ca.pem -cert own.pem -CAfile ca.pem -url http://203.0.113.1/ocsp -respout r.der"
        )
        answer = client.run("base64 -w0 r.der")
        assert findings("lint_ocsp_response", base64.b64decode(answer), tmp_path) == []
        if number == 0:
            lab.node("ca").certificate_authority.revoke(client.certificate("own.pem").serial, 4)


def test_a_registration_authority_and_a_patient_client(tmp_path: Path, lab_name: str) -> None:
    """Certmonger against an RA, waiting for the operator."""
    (tmp_path / "topology.yaml").write_text(TOPOLOGY.format(legacy="false"))
    lab = Lab.from_folder(tmp_path, name=lab_name, settings={"ra": True, "grant": "none"}).up()
    client = Client(lab.node("client"))
    client.run(f"curl -sS '{URL}?operation=GetCACert' | openssl pkcs7 -inform DER -print_certs > both.pem")
    assert "CN = LAB-CA RA" in client.run("cat both.pem").replace("CN=", "CN = ")
    add_ca = f"getcert add-scep-ca -s -c lab -u {URL}"
    told = certmonger(client, f"{add_ca}\n{REQUEST} || true\ngetcert list -s -i r1")
    assert "status: CA_WORKING" in told
    (granted,) = lab.node("ca").certificate_authority.grant("all")
    told = certmonger(
        client, "getcert refresh -s -i r1\nuntil getcert status -s -i r1; do sleep 0.1; done\ngetcert list -s -i r1"
    )
    assert "status: MONITORING" in told
    assert client.certificate("own.pem").serial == granted["serial"]
