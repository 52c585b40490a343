"""Parameters of a topology: `${name}` in the file, `--set name=value` and `--variant name` on the command line."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from testbed.errors import SettingError
from testbed.topology.models import Parameter, Variant
from testbed.topology.secrets import SecretSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from testbed.topology.source import Path, Source

__all__ = ["Substitution", "parameter_values", "substitute"]

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_SECTIONS = ("parameters", "variants")


@dataclass(frozen=True)
class Substitution:
    """The data with every reference replaced, and the paths at which a secret now stands."""

    data: Any
    secret_paths: frozenset[Path]


def parameter_values(
    source: Source, settings: Mapping[str, str], variants: Sequence[str]
) -> tuple[dict[str, Any], set[str]]:
    """The value of each parameter, and the names of the secret ones.

    Later wins: default, then variants in their order, then settings. Raises SettingError for a variant or a
    parameter that the topology does not declare, or a value that it does not allow. Sections that are malformed
    are passed over here: the models report them with their positions.
    """
    declared = _read(source, "parameters", Parameter)
    offered = _read(source, "variants", Variant)
    values: dict[str, Any] = {name: parameter.default for name, parameter in declared.items()}
    values |= {name: value.model_dump() for name, value in values.items() if not isinstance(value, str | int)}
    for variant in variants:
        if variant not in offered:
            raise _unknown("variant", variant, offered)
        chosen = offered[variant].set
        values |= {name: _allowed(declared[name], name, value) for name, value in chosen.items() if name in declared}
    for name, text in settings.items():
        if name not in declared:
            raise _unknown("parameter", name, declared)
        values[name] = _from_text(declared[name], name, text)
    return values, {name for name, parameter in declared.items() if parameter.secret}


def substitute(source: Source, values: Mapping[str, Any], secret: set[str]) -> Substitution:
    """Replace `${name}` everywhere but in the sections that declare parameters; `$${` stands for `${`.

    A reference that is the whole of a value takes the parameter's type; inside a longer text it becomes text.
    References to undeclared parameters are added to the problems of `source`.
    """
    writer = _Writer(source, values, secret)
    data = writer.walk(source.data, ())
    return Substitution(data, frozenset(writer.secret_paths))


class _Writer:
    def __init__(self, source: Source, values: Mapping[str, Any], secret: set[str]) -> None:
        self._source = source
        self._values = values
        self._secret = secret
        self.secret_paths: set[Path] = set()

    def walk(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {
                key: item if not path and key in _SECTIONS else self.walk(item, (*path, key))
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.walk(item, (*path, index)) for index, item in enumerate(value)]
        return self._text(value, path) if isinstance(value, str) and "$" in value else value

    def _text(self, text: str, path: Path) -> Any:
        whole = re.fullmatch(r"\$\{([^}]*)\}", text)
        if whole and whole[1] in self._values:
            return self._value(whole[1], path)
        return _REFERENCE.sub(lambda match: self._part(match, path), text)

    def _part(self, match: re.Match[str], path: Path) -> str:
        name = match[1]
        if name is None:
            return "${"
        if name in self._values and isinstance(self._values[name], str | int):
            return str(self._value(name, path))
        if name in self._values:
            found = self._source.problem(path, f"'{name}' comes from elsewhere", f"the whole value to be ${{{name}}}")
            self._source.problems.append(found)
            self._value(name, path)
            return ""
        near = difflib.get_close_matches(name, list(self._values), n=1)
        message = f"no parameter is named '{name}'"
        found = self._source.problem(path, message, "a name under 'parameters'", near[0] if near else None)
        self._source.problems.append(found)
        return match[0]

    def _value(self, name: str, path: Path) -> Any:
        if name in self._secret:
            self.secret_paths.add(path)
        return self._values[name]


def _read(source: Source, section: str, model: Any) -> dict[str, Any]:
    found = source.data.get(section) if isinstance(source.data, dict) else None
    good: dict[str, Any] = {}
    for name, value in found.items() if isinstance(found, dict) else ():
        try:
            good[name] = TypeAdapter(model).validate_python(value)
        except ValidationError:
            continue
    return good


def _from_text(parameter: Parameter, name: str, text: str) -> Any:
    if parameter.secret:
        origin, _, rest = text.partition(":")
        if origin not in ("env", "file") or not rest:
            raise SettingError(
                f"parameter '{name}' is a secret and cannot be set in clear",
                expected=f"{name}=env:VARIABLE or {name}=file:PATH",
                hint="a value on the command line would show in the process list",
            )
        return SecretSource.from_command_line(origin, rest)
    if parameter.choices is not None:
        for choice in parameter.choices:
            if text == _as_text(choice):
                return choice
        raise _not_allowed(name, text, "one of " + ", ".join(map(_as_text, parameter.choices)))
    if isinstance(parameter.default, bool):
        if text.lower() not in ("true", "false"):
            raise _not_allowed(name, text, "true or false")
        return text.lower() == "true"
    if isinstance(parameter.default, int):
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise _not_allowed(name, text, "a whole number")
        return int(text)
    return text


def _as_text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _allowed(parameter: Parameter, name: str, value: Any) -> Any:
    if parameter.choices is not None and value not in parameter.choices:
        raise _not_allowed(name, value, "one of " + ", ".join(str(choice) for choice in parameter.choices))
    return value


def _not_allowed(name: str, value: Any, expected: str) -> SettingError:
    return SettingError(f"parameter '{name}' cannot be {value!r}", expected=expected)


def _unknown(what: str, name: str, known: Mapping[str, Any]) -> SettingError:
    near = difflib.get_close_matches(name, list(known), n=1)
    return SettingError(
        f"the topology has no {what} '{name}'",
        expected=f"one of {', '.join(sorted(known))}" if known else f"no {what}: none is declared",
        hint=f"did you mean '{near[0]}'?" if near else None,
    )
