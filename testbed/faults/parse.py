"""A fault from its kind and its settings, as they are given in Python and on the command line."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from testbed.errors import SettingError
from testbed.topology.faults import KINDS, Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testbed.topology.models import Topology

__all__ = ["parse_fault"]

_ADAPTER: TypeAdapter[Any] = TypeAdapter(Fault)


def parse_fault(topology: Topology, what: str, settings: Mapping[str, Any]) -> Any:
    """A fault of this kind, or the one that the topology calls so. Raises SettingError with what is wrong with it."""
    if "kind" in settings:
        raise SettingError("'kind' is said already", expected=f"testbed fault LAB {settings['kind']} …")
    if what in topology.faults:
        declared = topology.faults[what]
        return _checked(topology, {**declared.model_dump(exclude_unset=True), **settings}) if settings else declared
    if what not in KINDS:
        known = [*KINDS, *topology.faults]
        near = difflib.get_close_matches(what, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else None
        raise SettingError(f"there is no fault '{what}'", expected=f"one of {', '.join(known)}", hint=hint)
    return _checked(topology, {"kind": what, **settings})


def _checked(topology: Topology, data: Mapping[str, Any]) -> Any:
    try:
        fault = _ADAPTER.validate_python(data)
    except ValidationError as failure:
        error = failure.errors(include_url=False)[0]
        where = ".".join(str(part) for part in error["loc"][1:]) or "it"
        raise SettingError(f"fault '{data['kind']}': {where}: {error['msg'].lower()}") from None
    links = [*getattr(fault, "links", ()), *([fault.link] if hasattr(fault, "link") else [])]
    for kind, names, known in (
        ("link", links, topology.links),
        ("node", [getattr(fault, "node", None)], topology.nodes),
    ):
        for name in names:
            if name is not None and name not in known:
                raise SettingError(f"there is no {kind} '{name}'", expected=f"one of {', '.join(known)}")
    return fault
