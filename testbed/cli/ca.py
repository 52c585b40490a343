"""Commands about certificate servers, and about enrolling with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli import output
from testbed.cli.common import EXIT_FAILED, JsonOption, RunningLabArgument, running_lab
from testbed.daemons.enrolment import describe, validity_error
from testbed.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.daemons.ca import CertificateAuthority
    from testbed.daemons.enrolment import Enrolment
    from testbed.lab import Lab

app = typer.Typer()

NodeOption = Annotated[str | None, typer.Option("--node", help="The CA's node, where a lab has several.")]
REASONS = {
    "unspecified": 0,
    "key-compromise": 1,
    "ca-compromise": 2,
    "affiliation-changed": 3,
    "superseded": 4,
    "cessation-of-operation": 5,
    "certificate-hold": 6,
    "privilege-withdrawn": 9,
}
_FROM_STATE = {"pending": "waits", "granted": "granted", "rejected": "rejected"}


@app.command()
def ca(
    lab: RunningLabArgument,
    command: Annotated[
        str,
        typer.Argument(
            help="info, requests, certificates, grant ID|all, reject ID, remove ID, revoke SERIAL, unrevoke SERIAL, "
            "password, crl, rollover"
        ),
    ] = "info",
    what: Annotated[str | None, typer.Argument(help="A request's number, `all`, or a serial number.")] = None,
    node: NodeOption = None,
    reason: Annotated[str, typer.Option(help=f"Why a certificate is revoked: {', '.join(REASONS)}.")] = "unspecified",
    now: Annotated[bool, typer.Option("--now", help="Let the next CA take over at once.")] = False,
    as_json: JsonOption = False,
) -> None:
    """A lab's certificate authority, as its operator: `testbed ca LAB grant all`."""
    authority = _authority(running_lab(lab), node)
    if reason not in REASONS:
        raise SettingError(f"'{reason}' is no reason to revoke", expected=f"one of {', '.join(REASONS)}")
    result = authority.call(command, **_arguments(command, what, reason, now=now))
    if as_json:
        output.print_json(result)
    else:
        _show(command, what, result)


def _authority(lab: Lab, node: str | None) -> CertificateAuthority:
    names = [name for name, device in lab.devices.items() if device.certificate_server is not None]
    if node is None and len(names) == 1:
        node = names[0]
    if node not in names:
        seen = f"'{node}' is no certificate server" if node else f"the lab has {len(names)} certificate servers"
        raise SettingError(seen, expected=f"--node, one of {', '.join(names)}" if names else "a lab that has one")
    return lab.node(node).certificate_authority


def _arguments(command: str, what: str | None, reason: str, *, now: bool) -> dict[str, Any]:
    if command in ("info", "requests", "certificates", "password", "crl"):
        return {}
    if command == "rollover":
        return {"now": now}
    if command in ("grant", "reject", "remove"):
        if command == "grant" and what == "all":
            return {"id": "all"}
        return {"id": _number(command, what)}
    if command == "revoke":
        return {"serial": _number(command, what), "reason": REASONS[reason]}
    if command == "unrevoke":
        return {"serial": _number(command, what)}
    raise SettingError(f"a certificate server knows no '{command}'", expected="`testbed ca --help` lists what it knows")


def _number(command: str, text: str | None) -> int:
    try:
        return int(text or "", 0)
    except ValueError:
        seen = f"'{text}' is no number" if text else f"{command} what?"
        raise SettingError(seen, expected=f"`testbed ca LAB {command} 3`, or 0x3") from None


def _show(command: str, what: str | None, result: Any) -> None:
    if command == "info":
        _show_info(result)
    elif command == "requests":
        rows = (
            (row["id"], _FROM_STATE[row["state"]], row["kind"], row["subject"], row["fingerprint"]) for row in result
        )
        output.table(("request", "state", "by", "subject", "MD5 of the request"), rows)
    elif command == "certificates":
        rows = (
            (f"{row['serial']:#x}", row["purpose"], row["subject"], row["not_after"][:19], row["revoked"] or "-")
            for row in result
        )
        output.table(("serial", "for", "subject", "valid until (UTC)", "revoked"), rows)
    elif command == "grant":
        for row in result:
            output.console.print(f"request {row['id']}: granted, serial {row['serial']:#x}")
        if not result:
            output.console.print("no request waits")
    elif command == "password":
        output.console.print(f"{result['password']}  [dim]good once, until {result['expires'][:19]} UTC[/]")
    elif command == "rollover":
        output.console.print(
            f"CA certificate {result['number']}, SHA-256 {result['fingerprints']['sha256']}", soft_wrap=True
        )
    elif command == "crl":
        output.console.print(f"published, {len(result['revoked'])} revoked")
    else:
        output.console.print(f"{command} {what}: done")


def _show_info(facts: dict[str, Any]) -> None:
    rows = [("name", facts["name"]), ("state", facts["state"]), ("grant", facts["grant"])]
    if facts["enabled"]:
        authority = facts["authority"]
        rows += [
            ("issuer", facts["issuer"]),
            ("certificate", f"{authority['not_before'][:19]} to {authority['not_after'][:19]} UTC"),
            *((f"fingerprint {digest.upper()}", value) for digest, value in authority["fingerprints"].items()),
            ("CRL", authority["crl"]),
            ("next CA", f"from {facts['next']['not_before'][:19]} UTC" if facts["next"] else "-"),
        ]
    rows += [
        ("last serial number", f"{facts['last_serial']:#x}"),
        ("requests that wait", facts["waiting"]),
        ("database", f"{facts['database_level']}, {facts['database_directory']}"),
    ]
    output.table(("certificate server", ""), rows)


@app.command()
def enrol(
    lab: RunningLabArgument,
    node: Annotated[str | None, typer.Argument(help="A router; all of them when left out.")] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Ask for the next certificate now.")] = False,
    authenticate: Annotated[
        bool, typer.Option("--authenticate", help="Fetch the CA's certificate anew, as after a rollover; then enrol.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Enrol routers with the CAs of their trustpoints, or renew; and what they have. Exit code 1 if one has nothing."""
    made = running_lab(lab)
    rows = []
    for enrolment in _enrolments(made, node):
        if authenticate:
            _authenticate(made, enrolment)
        state = _enrolled(enrolment, renew=renew, anew=authenticate)
        rows.append({"node": enrolment.node.name, "trustpoint": enrolment.trustpoint.name, **state})
    if as_json:
        output.print_json(rows)
    else:
        output.table(
            ("node", "trustpoint", "state", "certificate", "valid until (UTC)"),
            ((r["node"], r["trustpoint"], r["state"], r["certificate"] or "-", r["not_after"] or "-") for r in rows),
        )
    if not all(row["state"] == "valid" for row in rows):
        raise typer.Exit(EXIT_FAILED)


def _enrolments(lab: Lab, node: str | None) -> Iterator[Enrolment]:
    names = [name for name, device in lab.devices.items() if device.trustpoints]
    if node is not None and node not in names:
        raise SettingError(f"'{node}' has no trustpoint", expected=f"one of {', '.join(names) or 'none'}")
    for name in names if node is None else [node]:
        yield from lab.node(name).enrolments.values()


def _authenticate(lab: Lab, enrolment: Enrolment) -> None:
    """Trust the CA that has the configured fingerprint, or the one that its operator says."""
    found = enrolment.authenticate(lab.live().expected_fingerprint(enrolment.trustpoint))
    output.console.print(f"{enrolment.node.name}: CA certificate SHA-256 {found.sha256}", soft_wrap=True)


def _enrolled(enrolment: Enrolment, *, renew: bool, anew: bool) -> dict[str, Any]:
    certificate = enrolment.certificate
    if renew or anew or certificate is None:
        if enrolment.ca_certificate is None:
            enrolment.make_key()
            enrolment.authenticate()
        renews = renew and certificate is not None and not anew
        if renews:
            enrolment.renew()
        else:
            enrolment.request()
        certificate = enrolment.certificate
    if certificate is None:
        return {"state": "waits for the CA's operator", "certificate": None, "not_after": None}
    valid = certificate.valid_at(enrolment.now())
    state = "valid" if valid else validity_error(certificate, enrolment.now())
    if enrolment.pending:
        state = "valid; the next one waits for the CA's operator"
    return {
        "state": state,
        "certificate": describe(certificate),
        "not_after": f"{certificate.not_after:%Y-%m-%d %H:%M:%S}",
    }
