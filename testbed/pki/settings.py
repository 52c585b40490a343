"""What a certificate server is told, from a file that the testbed renders."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Settings", "load_settings"]

DAY = 86400


@dataclass(frozen=True)
class Settings:
    """All settings of one server; times in seconds. `names` are host names and addresses, the first one for URLs."""

    name: str
    subject: tuple[tuple[str, str], ...]
    names: tuple[str, ...]
    directory: str
    grant: Literal["auto", "none", "ra-auto"] = "none"
    challenge: str | None = field(default=None, repr=False)
    one_time_password_s: int | None = None
    one_time_password_grants: bool = False  # none is needed, but whose is right is granted at once: as IOS does
    hash: str = "sha256"
    key_size: int = 2048
    ca_lifetime_s: int = 1095 * DAY
    certificate_lifetime_s: int = 365 * DAY
    crl_lifetime_s: int = 7 * DAY
    request_lifetime_s: int = 7 * DAY
    cdp_url: str | None = None
    database_level: Literal["minimum", "names", "complete"] = "minimum"
    database_directory: str | None = None
    archive_format: Literal["pkcs12", "pem"] | None = None
    archive_password: str | None = field(default=None, repr=False)
    auto_rollover_s: int | None = None
    ra: bool = False
    legacy: bool = False
    duplicates: Literal["allow", "supersede", "reject"] = "allow"
    waits_for_clock: bool = False
    http: tuple[str, int] | None = ("", 80)
    https: tuple[str, int] | None = ("", 443)
    admin_socket: str = "/run/testbed/ca.sock"

    @property
    def host(self) -> str:
        """The first name as it stands in a URL, with the port if it is not 80."""
        name = f"[{self.names[0]}]" if ":" in self.names[0] else self.names[0]
        port = self.http[1] if self.http else 80
        return name if port == 80 else f"{name}:{port}"


def load_settings(path: Path) -> Settings:
    """Raises ValueError for what no Settings can be made of."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        known = {item.name for item in fields(Settings)}
        if set(data) - known:
            raise ValueError(f"unknown settings: {', '.join(sorted(set(data) - known))}")
        data["subject"] = tuple((kind, value) for kind, value in data["subject"])
        for name in ("names", "http", "https"):
            if data.get(name) is not None:
                data[name] = tuple(data[name])
        return Settings(**data)
    except (OSError, KeyError, TypeError, ValueError) as failure:
        raise ValueError(f"{path}: {failure}") from failure
