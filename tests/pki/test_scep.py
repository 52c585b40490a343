"""SCEP against the table of what each kind of message must be answered with (facts/scep.md, section 5)."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509 as pyca
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

from testbed.pki import ber, cms, der, scep
from testbed.pki.authority import RA_UNIT
from testbed.pki.errors import FailInfo, RefusedError
from testbed.pki.scep import UnanswerableError
from testbed.pki.x509 import Certificate, read_certificate
from tests.pki.client import Client, certificates_in, make_key, make_request, self_signed
from tests.pki.conftest import Ca

MakeCa = Callable[..., Ca]
SUCCESS, FAILURE, PENDING = "0", "2", "3"


def refused(ca: Ca, client: Client, message: bytes) -> FailInfo:
    """Why a message is refused; it must be, and nothing may have been issued."""
    before = ca.server.store.last_serial()
    answer = ca.ask(client, message)
    assert answer.status == FAILURE
    assert answer.certificates == []
    assert answer.fail_info is not None
    assert ca.server.store.last_serial() == before
    return FailInfo(answer.fail_info)


def enrolled(ca: Ca, client: Client, challenge: str | None = None) -> Certificate:
    answer = ca.ask(client, client.enrolment(challenge=challenge))
    assert answer.status == SUCCESS
    return answer.certificates[0]


def test_an_enrolment(ca: Ca) -> None:
    client = ca.client()
    answer = ca.ask(client, client.enrolment("T-1", san=["kisii.lab.test"]))
    assert answer.status == SUCCESS
    assert answer.transaction_id == "T-1"
    assert answer.recipient_nonce == client.nonce
    assert answer.signer.der == ca.server.current.certificate.der
    certificate = answer.certificates[0]
    assert certificate.spki == client.own.spki
    assert certificate.subject == client.own.subject
    assert b"kisii.lab.test" in certificate.der


@pytest.mark.parametrize("digest", ["sha1", "sha224", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("cipher", ["aes128", "aes192", "aes256", "des3"])
def test_algorithms_are_those_of_the_request(ca: Ca, digest: str, cipher: str) -> None:
    client = ca.client(digest=digest, cipher=cipher)
    data = ca.scep.operate(client.enrolment(f"{digest}-{cipher}"), "peer")
    message = cms.read_signed(data)
    assert cms.digest_of(message) == digest
    _, used = cms.decrypt(message.content or b"", client.own, client.key, legacy=False)
    assert used == cipher


@pytest.mark.parametrize(("digest", "cipher"), [("md5", "aes128"), ("sha256", "des"), ("md5", "des")])
def test_old_algorithms_need_the_legacy_mode(make_ca: MakeCa, digest: str, cipher: str) -> None:
    strict, legacy = make_ca(), make_ca(legacy=True)
    client = strict.client(digest=digest, cipher=cipher)
    if digest == "md5":
        # The refusal is signed with a digest that is allowed.
        answer = cms.read_signed(strict.scep.operate(client.enrolment(), "peer"))
        assert cms.digest_of(answer) == "sha256"
    assert refused(strict, client, client.enrolment()) is FailInfo.BAD_ALG
    old = legacy.client(digest=digest, cipher=cipher)
    assert legacy.ask(old, old.enrolment()).status == SUCCESS


def ber_of(element: ber.Element) -> bytes:
    """Indefinite lengths everywhere, and strings in pieces of 100 octets, as BouncyCastle writes them."""
    if element.parts is not None:
        return bytes((element.tag, 0x80)) + b"".join(map(ber_of, element.parts)) + b"\0\0"
    if element.tag == 0x04 and len(element.content) > 100:
        pieces = [element.content[at : at + 100] for at in range(0, len(element.content), 100)]
        return b"\x24\x80" + b"".join(der.octet_string(piece) for piece in pieces) + b"\0\0"
    return element.der()


def test_ber_with_indefinite_lengths_is_taken(ca: Ca) -> None:
    client = ca.client()
    message = ber_of(ber.parse(client.enrolment()))
    assert b"\x24\x80" in message
    assert ca.ask(client, message).status == SUCCESS


def test_encrypted_content_in_pieces_is_taken(ca: Ca) -> None:
    client = ca.client()
    envelope = ber.parse(cms.encrypt(make_request(client.key), client.ca, "aes128"))
    content = envelope[1][0][2]
    whole = content.children[2].content
    content.children[2] = ber.Element(0xA0, parts=[ber.Element(0x04, whole[:64]), ber.Element(0x04, whole[64:])])
    assert ca.ask(client, client.sign(envelope.der(), scep.PKCS_REQ, "T")).status == SUCCESS


# -- messages that nobody can be answered for


@pytest.mark.parametrize(
    "message",
    [b"", os.urandom(100), b"\x30\x80" * 10_000, b"\x30\x88" + b"\x7f" * 8, b"GET / HTTP/1.0"],
    ids=["empty", "random", "nested", "huge", "http"],
)
def test_what_is_no_message_is_unanswerable(ca: Ca, message: bytes) -> None:
    with pytest.raises(UnanswerableError):
        ca.scep.operate(message, "peer")


def test_certificates_are_no_message(ca: Ca) -> None:
    for message in (ca.server.current.certificate.der, cms.certificates_only([ca.server.current.certificate])):
        with pytest.raises(UnanswerableError):
            ca.scep.operate(message, "peer")


def test_a_truncated_message(ca: Ca) -> None:
    whole = ca.client().enrolment()
    for size in range(0, len(whole), 97):
        with pytest.raises(UnanswerableError):
            ca.scep.operate(whole[:size], "peer")


@pytest.mark.parametrize("count", [0, 2])
def test_not_exactly_one_transaction_id(ca: Ca, count: int) -> None:
    client = ca.client()
    attributes = [(scep.MESSAGE_TYPE, der.printable("19")), (scep.SENDER_NONCE, der.octet_string(b"n" * 16))]
    attributes += [(scep.TRANSACTION_ID, der.printable(f"T{number}")) for number in range(count)]
    content = cms.encrypt(make_request(client.key), client.ca, "aes128")
    with pytest.raises(UnanswerableError):
        ca.scep.operate(cms.signed(content, attributes, client.own, client.key, "sha256"), "peer")


# -- messages that are refused with a signed answer


def test_a_transaction_id_that_is_too_long(ca: Ca) -> None:
    client = ca.client()
    assert refused(ca, client, client.enrolment("x" * 300)) is FailInfo.BAD_REQUEST


@pytest.mark.parametrize("nonce", [b"", b"short", b"x" * 100])
def test_no_usable_nonce(ca: Ca, nonce: bytes) -> None:
    client = ca.client(nonce=nonce)
    assert refused(ca, client, client.enrolment()) is FailInfo.BAD_REQUEST


@pytest.mark.parametrize("kind", ["", "3", "18", "99", "nonsense"])
def test_an_unknown_message_type(ca: Ca, kind: str) -> None:
    client = ca.client()
    assert refused(ca, client, client.message(kind, make_request(client.key))) is FailInfo.BAD_REQUEST


def test_a_broken_signature(ca: Ca) -> None:
    client = ca.client()
    message = bytearray(client.enrolment())
    message[-1] ^= 1
    assert refused(ca, client, bytes(message)) is FailInfo.BAD_MESSAGE_CHECK


def test_another_content_than_was_signed(ca: Ca) -> None:
    client = ca.client()
    tree = ber.parse(client.enrolment())
    content = tree[1][0][2][1][0]
    content.content = content.content[:-1] + bytes((content.content[-1] ^ 1,))
    assert refused(ca, client, tree.der()) is FailInfo.BAD_MESSAGE_CHECK


def test_a_signer_that_is_not_in_the_message(ca: Ca) -> None:
    client = ca.client()
    tree = ber.parse(client.enrolment())
    tree[1][0].children[3] = ber.Element(0xA0, parts=[ber.parse(self_signed(make_key(1), "other").der)])
    assert refused(ca, client, tree.der()) is FailInfo.BAD_MESSAGE_CHECK


def test_encrypted_to_another_ca(ca: Ca) -> None:
    client = ca.client()
    content = cms.encrypt(make_request(client.key), self_signed(make_key(1), "other"), "aes128")
    assert refused(ca, client, client.sign(content, scep.PKCS_REQ, "T")) is FailInfo.BAD_MESSAGE_CHECK


def test_what_does_not_decrypt_is_always_answered_alike(ca: Ca) -> None:
    client = ca.client()
    good = ber.parse(cms.encrypt(make_request(client.key), client.ca, "aes128"))
    answers = set()
    for place in ("key", "iv", "content", "short"):
        broken = ber.parse(good.der())
        body = broken[1][0]
        if place == "key":
            body[1][0].children[3] = ber.Element(0x04, os.urandom(len(body[1][0][3].content)))
        elif place == "iv":
            body[2][1].children[1] = ber.Element(0x04, b"short")
        elif place == "content":
            # The last octet says how much is padding, and it comes out with its highest bit the other way: too much.
            content = bytearray(body[2][2].content)
            content[-17] ^= 0x80
            body[2].children[2] = ber.Element(0x80, bytes(content))
        else:
            body[2].children[2] = ber.Element(0x80, body[2][2].content[:-3])
        answers.add(refused(ca, client, client.sign(broken.der(), scep.PKCS_REQ, "T")))
    assert answers == {FailInfo.BAD_MESSAGE_CHECK}


def test_a_request_that_is_garbage(ca: Ca) -> None:
    client = ca.client()
    for content in (b"", b"garbage", der.sequence(der.NULL), ca.server.current.certificate.der):
        assert refused(ca, client, client.message(scep.PKCS_REQ, content)) in (
            FailInfo.BAD_REQUEST,
            FailInfo.BAD_MESSAGE_CHECK,
            FailInfo.BAD_ALG,
        )


def test_no_proof_of_possession(ca: Ca) -> None:
    client = ca.client()
    request = bytearray(make_request(client.key))
    request[-1] ^= 1
    assert refused(ca, client, client.message(scep.PKCS_REQ, bytes(request))) is FailInfo.BAD_MESSAGE_CHECK


def test_a_request_for_another_key_than_signed_it(ca: Ca) -> None:
    client = ca.client()
    request = make_request(make_key(1))
    assert refused(ca, client, client.message(scep.PKCS_REQ, request)) is FailInfo.BAD_MESSAGE_CHECK


def test_a_key_that_is_too_short_or_of_another_kind(ca: Ca) -> None:
    client = ca.client()
    elliptic = make_request(ec.generate_private_key(ec.SECP256R1()))  # type: ignore[arg-type]
    # SCEP cannot answer to such a key; that it is not the signer's is found first.
    assert refused(ca, client, client.message(scep.PKCS_REQ, elliptic)) is FailInfo.BAD_MESSAGE_CHECK


# -- the same again


def test_the_same_request_has_the_same_answer(ca: Ca) -> None:
    client = ca.client()
    first = enrolled(ca, client)
    again = enrolled(ca, replace(client, nonce=b"another nonce 16"))
    assert again.der == first.der
    assert ca.server.store.last_serial() == first.serial


def test_sixteen_at_once_get_one_certificate(ca: Ca) -> None:
    client = ca.client()
    message = client.enrolment()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ca.ask(client, message), range(16)))
    assert {answer.certificates[0].der for answer in answers} == {answers[0].certificates[0].der}
    assert len(ca.server.store.certificates(purpose="client")) == 1


def test_many_at_once_get_serial_numbers_of_their_own(ca: Ca) -> None:
    client = ca.client()
    messages = [client.enrolment(f"T{number}") for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda message: ca.ask(client, message), messages))
    assert len({answer.certificates[0].serial for answer in answers}) == 64


def test_a_transaction_id_of_somebody_else(ca: Ca) -> None:
    enrolled(ca, ca.client(0))
    other = ca.client(1, name="other")
    assert refused(ca, other, other.enrolment()) is FailInfo.BAD_REQUEST


def test_an_expired_certificate_can_be_asked_for_again(ca: Ca) -> None:
    client = ca.client()
    first = enrolled(ca, client)
    ca.turn(days=366)
    assert enrolled(ca, client).serial > first.serial


def test_after_a_rollover_the_same_key_gets_a_certificate_of_the_new_ca(ca: Ca) -> None:
    client = ca.client()
    first = enrolled(ca, client)
    ca.server.roll_over()
    again = enrolled(ca, ca.client())
    assert again.serial > first.serial
    issued = ca.server.store.certificate(again.serial)
    assert issued is not None
    assert issued.authority == 2


# -- polling


def test_a_request_waits_until_it_is_granted(make_ca: MakeCa) -> None:
    ca = make_ca(grant="none")
    client = ca.client()
    assert ca.ask(client, client.enrolment()).status == PENDING
    assert ca.ask(client, client.enrolment()).status == PENDING
    assert ca.ask(client, client.poll()).status == PENDING
    (waiting,) = ca.server.store.requests(state="pending")
    ca.server.grant(waiting.id)
    polled, again = ca.ask(client, client.poll()), ca.ask(client, client.enrolment())
    assert polled.status == again.status == SUCCESS
    assert polled.certificates[0].der == again.certificates[0].der


def test_a_request_that_is_rejected(make_ca: MakeCa) -> None:
    ca = make_ca(grant="none")
    client = ca.client()
    ca.ask(client, client.enrolment())
    ca.server.reject(1)
    assert refused(ca, client, client.poll()) is FailInfo.BAD_REQUEST
    assert refused(ca, client, client.enrolment()) is FailInfo.BAD_REQUEST
    ca.server.remove(1)
    assert ca.ask(client, client.enrolment()).status == PENDING


def test_polling_for_what_was_never_asked_or_by_somebody_else(make_ca: MakeCa) -> None:
    ca = make_ca(grant="none")
    client, other = ca.client(0), ca.client(1, name="other")
    assert refused(ca, client, client.poll("unknown")) is FailInfo.BAD_CERT_ID
    ca.ask(client, client.enrolment())
    assert refused(ca, other, other.poll()) is FailInfo.BAD_MESSAGE_CHECK
    assert refused(ca, client, client.message(scep.CERT_POLL, b"junk")) is FailInfo.BAD_REQUEST


# -- fetching


def test_a_certificate_and_a_crl_can_be_fetched(ca: Ca) -> None:
    client = ca.client()
    certificate = enrolled(ca, client)
    assert ca.ask(client, client.by_serial(scep.GET_CERT, certificate.serial)).certificates[0].der == certificate.der
    message = cms.read_signed(ca.scep.operate(client.by_serial(scep.GET_CRL, certificate.serial), "peer"))
    plain, _ = cms.decrypt(message.content or b"", client.own, client.key, legacy=False)
    assert ca.server.crl(ca.server.current) in plain


@pytest.mark.parametrize("serial", [0, -1, 99, 1 << 62, 1 << 159])
def test_a_certificate_that_there_is_not(ca: Ca, serial: int) -> None:
    client = ca.client()
    assert refused(ca, client, client.by_serial(scep.GET_CERT, serial)) is FailInfo.BAD_CERT_ID


def test_a_certificate_of_another_issuer(ca: Ca) -> None:
    client = ca.client()
    message = client.by_serial(scep.GET_CERT, 1, issuer=client.own.subject)
    assert refused(ca, client, message) is FailInfo.BAD_CERT_ID


# -- renewal


def renewing(client: Client, certificate: Certificate, key_number: int) -> bytes:
    """A RenewalReq for another key, signed with the certificate there is."""
    signing = replace(client, signer=certificate)
    return signing.message(scep.RENEWAL_REQ, make_request(make_key(key_number), client.name), f"R{key_number}")


def test_a_renewal_with_a_new_key(make_ca: MakeCa) -> None:
    ca = make_ca(challenge="secret")
    client = ca.client()
    old = enrolled(ca, client, challenge="secret")
    answer = ca.ask(replace(client, signer=old), renewing(client, old, 1))
    assert answer.status == SUCCESS
    assert answer.certificates[0].serial > old.serial
    assert answer.certificates[0].spki == self_signed(make_key(1)).spki


def test_a_renewal_with_the_same_key_and_transaction_is_a_new_certificate(ca: Ca) -> None:
    client = ca.client()
    old = enrolled(ca, client)
    signing = replace(client, signer=old)
    for kind in (scep.RENEWAL_REQ, scep.PKCS_REQ):  # certmonger says PKCSReq
        message = signing.message(kind, make_request(client.key, client.name), "T1")
        answers = [ca.ask(signing, message) for _ in range(2)]
        assert answers[0].certificates[0].serial > old.serial
        assert answers[0].certificates[0].der == answers[1].certificates[0].der


def test_renewals_that_are_refused(ca: Ca) -> None:
    client = ca.client()
    old = enrolled(ca, client)
    signing = replace(client, signer=old)
    other_name = signing.message(scep.RENEWAL_REQ, make_request(make_key(1), "somebody-else"), "R")
    assert refused(ca, signing, other_name) is FailInfo.BAD_REQUEST
    assert refused(ca, client, renewing(client, client.own, 1)) is FailInfo.BAD_CERT_ID  # self-signed
    ca.server.revoke(old.serial)
    assert refused(ca, signing, renewing(client, old, 1)) is FailInfo.BAD_CERT_ID
    ca.server.unrevoke(old.serial)
    ca.turn(days=400)
    assert refused(ca, signing, renewing(client, old, 1)) is FailInfo.BAD_TIME


def test_a_signer_whose_name_cannot_be_read(ca: Ca) -> None:
    """Found by the fuzzer: a certificate that is not one of this CA is not looked into."""
    client = ca.client()
    tree = ber.parse(client.own.der)
    body = tree[0]
    body[5][0][0].children[1] = ber.Element(0x4C, b"kisii")
    strange = read_certificate(tree)
    signing = replace(client, signer=strange)
    message = signing.message(scep.RENEWAL_REQ, make_request(client.key), "T")
    assert refused(ca, signing, message) is FailInfo.BAD_CERT_ID


# -- the registration authority


def test_a_registration_authority_answers(make_ca: MakeCa) -> None:
    ca = make_ca(ra=True)
    client = ca.client()
    data, kind = ca.scep.ca_certificates()
    assert kind == "application/x-x509-ca-ra-cert"
    authority = ca.server.current
    assert {item.der for item in certificates_in(data)} == {authority.certificate.der, authority.scep.certificate.der}
    answer = ca.ask(client, client.enrolment())
    assert answer.signer.der == authority.scep.certificate.der
    assert answer.certificates[0].issuer == authority.certificate.subject


def test_what_a_registration_authority_signed_is_granted(make_ca: MakeCa) -> None:
    ca = make_ca(grant="ra-auto", ra=True)
    client = ca.client()
    assert ca.ask(client, client.enrolment()).status == PENDING
    ra = ca.server.current.scep
    agent = Client(client.ca, key=ra.key, signer=ra.certificate)
    answer = ca.ask(agent, agent.message(scep.PKCS_REQ, make_request(make_key(1), "behind-the-ra"), "RA1"))
    assert answer.status == SUCCESS


# -- GetNextCACert


def test_the_next_ca_certificate_is_signed_by_this_one(ca: Ca) -> None:
    assert ca.scep.next_ca_certificate() is None
    upcoming = ca.server.prepare_rollover()
    data = ca.scep.next_ca_certificate()
    assert data is not None
    message = cms.read_signed(data)
    assert message.verify("sha256").der == ca.server.current.certificate.der
    assert [item.der for item in certificates_in(message.content or b"")] == [upcoming.certificate.der]
    assert upcoming.certificate.der in data.replace(message.content or b"", b"")  # also outside, for jscep


def test_a_disabled_server_issues_nothing(make_ca: MakeCa) -> None:
    ca = make_ca()
    message = ca.client().enrolment()
    ca.server._authorities = []
    with pytest.raises(RefusedError, match="not synchronised"):
        ca.scep.operate(message, "peer")


# -- what a reviewer found


def renewal(client: Client, certificate: Certificate, san: list[str] | None, kind: str = scep.RENEWAL_REQ) -> bytes:
    request = make_request(make_key(1), client.name, san=san)
    return replace(client, signer=certificate).message(kind, request, f"R-{san}")


def test_a_renewal_keeps_its_names(ca: Ca) -> None:
    """The names are identities in IKE: a renewal is no way to get another one's."""
    client = ca.client()
    answer = ca.ask(client, client.enrolment(san=["kisii.test"]))
    old = answer.certificates[0]
    signing = replace(client, signer=old)
    for san in (["kisumu.test"], ["kisii.test", "kisumu.test"], None):
        assert refused(ca, signing, renewal(client, old, san)) is FailInfo.BAD_REQUEST
    assert ca.ask(signing, renewal(client, old, ["kisii.test"])).status == SUCCESS


def test_nobody_makes_himself_a_registration_authority(ca: Ca) -> None:
    """A subject that is marked as one waits for the operator, also where everything else is granted."""
    client = ca.client()
    message = client.message(scep.PKCS_REQ, make_request(make_key(0), "kisii", unit=RA_UNIT), "ra")
    assert ca.ask(client, message).status == PENDING
    granted = ca.server.grant(1)
    agent = replace(client, signer=granted)
    answer = ca.ask(agent, agent.message(scep.PKCS_REQ, make_request(make_key(1), "behind-it"), "for-another"))
    assert answer.status == SUCCESS


def test_a_signer_with_an_elliptic_key_is_refused_before_anything_is_issued(ca: Ca) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = pyca.Name([pyca.NameAttribute(pyca.NameOID.COMMON_NAME, "ec")])
    request = pyca.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    moment = datetime.now(UTC)
    made = (
        pyca.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(moment)
        .not_valid_after(moment + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    client = ca.client()
    tree = ber.parse(client.message(scep.PKCS_REQ, request.public_bytes(serialization.Encoding.DER)))
    signer = tree[1][0].children[-1][0]
    own = read_certificate(made.public_bytes(serialization.Encoding.DER))
    tree[1][0].children[3] = ber.Element(0xA0, parts=[ber.parse(own.der)])
    signer.children[1] = ber.parse(der.sequence(own.issuer, der.integer(1)))
    signer.children[4] = ber.parse(der.sequence(der.oid("1.2.840.10045.4.3.2")))
    signed = der.tlv(0x31, signer.children[3].body())
    signer.children[5] = ber.Element(0x04, key.sign(signed, ec.ECDSA(hashes.SHA256())))
    before = ca.server.store.last_serial()
    answer = cms.read_signed(ca.scep.operate(tree.der(), "peer"))
    assert answer.attributes[scep.FAIL_INFO].content == b"0"
    assert ca.server.store.last_serial() == before


@pytest.mark.parametrize("value", [der.integer(19), der.printable("19")[:2] + b"\xff\xfe", der.octet_string(b"19")])
def test_a_message_type_that_is_no_text(ca: Ca, value: bytes) -> None:
    client = ca.client()
    attributes = [
        (scep.MESSAGE_TYPE, value),
        (scep.TRANSACTION_ID, der.printable("T")),
        (scep.SENDER_NONCE, der.octet_string(client.nonce)),
    ]
    content = cms.encrypt(make_request(client.key), client.ca, "aes128")
    message = cms.signed(content, attributes, client.own, client.key, "sha256")
    assert refused(ca, client, message) is FailInfo.BAD_REQUEST


def test_a_revoked_certificate_is_not_delivered_again(ca: Ca) -> None:
    client = ca.client()
    first = enrolled(ca, client)
    ca.server.revoke(first.serial)
    assert enrolled(ca, client).serial > first.serial


def test_the_same_key_with_other_names_gets_a_certificate_with_them(ca: Ca) -> None:
    client = ca.client()
    old = enrolled(ca, client)
    answer = ca.ask(client, client.enrolment(san=["new.test"]))
    assert answer.certificates[0].serial > old.serial
    assert b"new.test" in answer.certificates[0].der


def test_a_wrong_password_forgets_nothing(make_ca: MakeCa) -> None:
    ca = make_ca(challenge="right")
    client = ca.client()
    first = enrolled(ca, client, challenge="right")
    ca.turn(days=400)
    assert refused(ca, client, client.enrolment(challenge="wrong")) is FailInfo.BAD_REQUEST
    assert [row.serial for row in ca.server.store.requests()] == [first.serial]


def test_sixteen_at_once_with_one_password_get_one_certificate(make_ca: MakeCa) -> None:
    ca = make_ca(one_time_password_s=600)
    client = ca.client()
    message = client.enrolment(challenge=ca.server.new_password()[0])
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ca.ask(client, message), range(16)))
    assert {answer.status for answer in answers} == {SUCCESS}
    assert len({answer.certificates[0].der for answer in answers}) == 1


@pytest.mark.parametrize("policy", ["supersede", "reject"])
def test_duplicates_are_looked_for_also_when_the_operator_grants(make_ca: MakeCa, policy: str) -> None:
    ca = make_ca(grant="none", duplicates=policy)
    for number in range(2):
        client = ca.client(number)
        ca.ask(client, client.enrolment(f"T{number}"))
    first = ca.server.grant(1)
    if policy == "reject":
        with pytest.raises(RefusedError, match="another key"):
            ca.server.grant(2)
    else:
        ca.server.grant(2)
        issued = ca.server.store.certificate(first.serial)
        assert issued is not None
        assert issued.revoked is not None


def test_who_knows_the_last_ca_alone_is_answered_by_it(make_ca: MakeCa) -> None:
    ca = make_ca(grant="none")
    client = ca.client()
    ca.ask(client, client.enrolment())
    old = ca.server.current
    ca.server.roll_over()
    ca.server.grant(1)
    answer = ca.ask(client, client.poll())
    assert answer.status == SUCCESS
    assert answer.signer.der == old.certificate.der


def test_the_servers_own_certificates_last_as_long_as_the_ca(make_ca: MakeCa) -> None:
    ca = make_ca(ra=True, certificate_lifetime_s=600)
    authority = ca.server.current
    for identity in (authority.scep, authority.tls):
        assert identity.certificate.not_after == authority.certificate.not_after


def test_another_digest_than_was_announced(ca: Ca) -> None:
    client = ca.client()
    tree = ber.parse(client.enrolment())
    signer = tree[1][0].children[-1][0]
    signer.children[4] = ber.parse(der.sequence(der.oid("1.2.840.113549.1.1.4"), der.NULL))  # md5WithRSA
    signed = der.tlv(0x31, signer.children[3].body())
    signer.children[5] = ber.Element(0x04, client.key.sign(signed, padding.PKCS1v15(), hashes.MD5()))  # noqa: S303
    assert refused(ca, client, tree.der()) is FailInfo.BAD_ALG


def test_a_signer_with_a_huge_serial_number(ca: Ca) -> None:
    client = ca.client()
    enrolled(ca, client)
    tree = ber.parse(client.own.der)
    tree[0].children[1] = ber.Element(0x02, b"\x01" * 2048)
    message = ber.parse(client.enrolment())
    message[1][0].children[3] = ber.Element(0xA0, parts=[tree])
    assert refused(ca, client, message.der()) is FailInfo.BAD_MESSAGE_CHECK


def test_key_transport_that_is_not_done(ca: Ca) -> None:
    """OAEP with MD5, which the library has not."""
    client = ca.client()
    envelope = ber.parse(cms.encrypt(make_request(client.key), client.ca, "aes128"))
    md5 = der.explicit(0, der.sequence(der.oid("1.2.840.113549.2.5"), der.NULL))
    envelope[1][0][1][0].children[2] = ber.parse(der.sequence(der.oid("1.2.840.113549.1.1.7"), der.sequence(md5)))
    message = client.sign(envelope.der(), scep.PKCS_REQ, "T")
    assert refused(ca, client, message) in (FailInfo.BAD_ALG, FailInfo.BAD_MESSAGE_CHECK)


def test_a_registration_authority_stays_one_when_it_renews(make_ca: MakeCa) -> None:
    ca = make_ca(grant="ra-auto")
    client = ca.client()
    ca.ask(client, client.message(scep.PKCS_REQ, make_request(make_key(0), "agent", unit=RA_UNIT), "ra"))
    agent = replace(client, signer=ca.server.grant(1))
    renewed = ca.ask(agent, agent.message(scep.RENEWAL_REQ, make_request(make_key(0), "agent", unit=RA_UNIT), "again"))
    assert renewed.status == SUCCESS
    again = replace(client, signer=renewed.certificates[0])
    answer = ca.ask(again, again.message(scep.PKCS_REQ, make_request(make_key(1), "behind-it"), "for-another"))
    assert answer.status == SUCCESS
