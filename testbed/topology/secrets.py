"""Secrets of a topology: where they come from, and a value that does not show itself."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 64 * 1024

__all__ = ["SecretSource", "SecretValue", "resolve_secret"]


class SecretValue:
    """Bytes that are never shown: `repr()`, `str()` and formatting give asterisks."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The secret itself, for the one place that renders it."""
        return self._value

    def __repr__(self) -> str:
        return "SecretValue(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretValue) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class SecretSource(BaseModel):
    """A secret that is not written in the topology file: exactly one of `env` and `file`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    env: Annotated[str | None, Field(description="Name of an environment variable.", min_length=1)] = None
    file: Annotated[
        str | None, Field(description="A file, relative to the lab folder; one final newline is dropped.")
    ] = None
    encoding: Annotated[
        Literal["text", "hex", "base64"], Field(description="How the variable or file writes the bytes.")
    ] = "text"

    # Whether a user named it on the command line; a topology, which may be anybody's, cannot reach out of its folder.
    _trusted: bool = PrivateAttr(default=False)

    @classmethod
    def from_command_line(cls, origin: str, name: str) -> SecretSource:
        """`env:NAME`, or `file:PATH` relative to where the user is."""
        source = cls(env=name) if origin == "env" else cls(file=str(Path(name).absolute()))
        source._trusted = True  # noqa: SLF001 - its own
        return source

    @model_validator(mode="after")
    def exactly_one(self) -> SecretSource:
        if (self.env is None) == (self.file is None):
            raise ValueError("names not exactly one of 'env' and 'file'")
        return self


def resolve_secret(source: str | SecretSource, folder: Path, environ: Mapping[str, str]) -> SecretValue:
    """The bytes of a secret; text is UTF-8 and is taken literally, also when it begins with 0x or 0s.

    Raises ValueError, whose text never holds any part of the secret.
    """
    if isinstance(source, str):
        return SecretValue(_not_empty(source.encode(), "the secret"))
    if source.env is not None:
        if source.env not in environ:
            raise ValueError(f"environment variable {source.env} is not set")
        raw, origin = os.fsencode(environ[source.env]), f"environment variable {source.env}"
    else:
        path = _file(source, folder)
        try:
            raw, origin = path.read_bytes().removesuffix(b"\n"), f"file {path}"
        except OSError as failure:
            raise ValueError(f"cannot read {path}: {failure.strerror}") from None
    return SecretValue(_not_empty(_decode(raw, source.encoding, origin), origin))


def _file(source: SecretSource, folder: Path) -> Path:
    path = folder / (source.file or "")
    if not source._trusted and not path.resolve().is_relative_to(folder.resolve()):  # noqa: SLF001 - its own module
        raise ValueError(f"the file {source.file} is outside the lab folder")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file")
    if path.exists() and path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is too large: more than {MAX_BYTES} bytes")
    return path


def _decode(raw: bytes, encoding: str, origin: str) -> bytes:
    try:
        if encoding == "hex":
            return bytes.fromhex(raw.decode("ascii").removeprefix("0x"))
        if encoding == "base64":
            return base64.b64decode(raw.removeprefix(b"0s"), validate=True)
    except (ValueError, binascii.Error):
        raise ValueError(f"{origin} does not hold {encoding}") from None
    return raw


def _not_empty(value: bytes, origin: str) -> bytes:
    if not value:
        raise ValueError(f"{origin} is empty")
    return value
