"""IKE SAs and CHILD SAs as charon reports them. Times in seconds, sizes in bytes of the inner packets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ChildSa", "IkeSa", "plain"]


def plain(value: Any) -> Any:
    """What VICI sends, with its bytes as text."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def _number(data: Mapping[str, Any], key: str) -> int | None:
    return int(data[key]) if key in data else None


@dataclass(frozen=True)
class ChildSa:
    """A CHILD SA. `spi_in` and `spi_out` are eight hex digits. None is what charon did not say."""

    name: str
    unique_id: int
    state: str
    mode: str | None
    protocol: str | None
    encapsulated: bool
    spi_in: str | None
    spi_out: str | None
    encryption: str | None
    encryption_bits: int | None
    integrity: str | None
    group: str | None
    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int
    local_selectors: tuple[str, ...]
    remote_selectors: tuple[str, ...]
    rekey_in_s: int | None
    expires_in_s: int | None
    age_s: int | None
    compressed: bool = False

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> ChildSa:
        return cls(
            name=str(data.get("name", "")),
            unique_id=int(data.get("uniqueid", 0)),
            state=str(data.get("state", "")),
            mode=data.get("mode"),
            protocol=data.get("protocol"),
            encapsulated=data.get("encap") == "yes",
            spi_in=data.get("spi-in"),
            spi_out=data.get("spi-out"),
            encryption=data.get("encr-alg"),
            encryption_bits=_number(data, "encr-keysize"),
            integrity=data.get("integ-alg"),
            group=data.get("dh-group") or data.get("ke"),
            bytes_in=int(data.get("bytes-in", 0)),
            bytes_out=int(data.get("bytes-out", 0)),
            packets_in=int(data.get("packets-in", 0)),
            packets_out=int(data.get("packets-out", 0)),
            local_selectors=tuple(data.get("local-ts", ())),
            remote_selectors=tuple(data.get("remote-ts", ())),
            rekey_in_s=_number(data, "rekey-time"),
            expires_in_s=_number(data, "life-time"),
            age_s=_number(data, "install-time"),
            compressed="cpi-in" in data and "cpi-out" in data,
        )


@dataclass(frozen=True)
class IkeSa:
    """An IKE SA with its CHILD SAs."""

    name: str
    unique_id: int
    version: int
    state: str
    initiator: bool
    local_address: str
    local_port: int
    local_identity: str
    remote_address: str
    remote_port: int
    remote_identity: str
    initiator_spi: str
    responder_spi: str
    encryption: str | None
    encryption_bits: int | None
    integrity: str | None
    prf: str | None
    group: str | None
    established_s: int | None
    rekey_in_s: int | None
    reauthenticate_in_s: int | None
    children: tuple[ChildSa, ...] = field(default=())

    @classmethod
    def read(cls, name: str, data: Mapping[str, Any]) -> IkeSa:
        return cls(
            name=name,
            unique_id=int(data.get("uniqueid", 0)),
            version=int(data.get("version", 0)),
            state=str(data.get("state", "")),
            initiator=data.get("initiator") == "yes",
            local_address=str(data.get("local-host", "")),
            local_port=int(data.get("local-port", 0)),
            local_identity=str(data.get("local-id", "")),
            remote_address=str(data.get("remote-host", "")),
            remote_port=int(data.get("remote-port", 0)),
            remote_identity=str(data.get("remote-id", "")),
            initiator_spi=str(data.get("initiator-spi", "")),
            responder_spi=str(data.get("responder-spi", "")),
            encryption=data.get("encr-alg"),
            encryption_bits=_number(data, "encr-keysize"),
            integrity=data.get("integ-alg"),
            prf=data.get("prf-alg"),
            group=data.get("dh-group") or data.get("ke"),
            established_s=_number(data, "established"),
            rekey_in_s=_number(data, "rekey-time"),
            reauthenticate_in_s=_number(data, "reauth-time"),
            children=tuple(ChildSa.read(child) for child in data.get("child-sas", {}).values()),
        )

    @property
    def established(self) -> bool:
        return self.state == "ESTABLISHED"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
