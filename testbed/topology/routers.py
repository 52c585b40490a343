"""Nodes of kind `ios`: their start-up configurations, and what these say of addresses, for the rest of the lab."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from testbed.ios.addresses import interface_addresses, loopback_addresses
from testbed.ios.reader import read_configuration
from testbed.topology.addressing import split_end
from testbed.topology.models import Interface
from testbed.topology.parameters import parameter_values
from testbed.topology.secrets import SecretSource, resolve_secret
from testbed.topology.source import parse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from testbed.ios.configuration import Configuration
    from testbed.topology.models import Topology
    from testbed.topology.source import Source

__all__ = ["bare_text", "overlaid", "read_routers", "router_texts", "text_digest", "with_defaults"]

_REFERENCE = re.compile(r"\$\{([a-z][a-z0-9_-]*)\}")
_UNREAD = "unread"  # stands for a secret
_MAX_BYTES = 1024 * 1024
_MOST = 20  # lines that are told of one configuration


def router_texts(
    topology: Topology,
    source: Source,
    folder: Path,
    values: Mapping[str, Any],
    environ: Mapping[str, str] | None,
) -> dict[str, str]:
    """The start-up configuration of each router, with its parameters put in; without `environ`, no secrets.

    What cannot be read is added to the problems of `source`.
    """
    texts: dict[str, str] = {}
    for name, node in topology.nodes.items():
        if node.kind != "ios":
            continue
        texts[name] = bare_text(topology, name)
        if node.config is None:
            continue
        path = ("nodes", name, "config")
        file = (folder / node.config).resolve()
        if not file.is_relative_to(folder.resolve()) or not file.is_file():
            continue  # told by the checks, and not read
        try:
            content = file.read_bytes()
            if len(content) > _MAX_BYTES:
                raise ValueError(f"more than {_MAX_BYTES} bytes")
            texts[name] = _substituted(content.decode(), values, folder, environ)
        except (OSError, ValueError) as failure:
            source.problems.append(source.problem(path, f"{node.config}: {failure}", "a configuration in UTF-8"))
    return texts


def bare_text(topology: Topology, name: str) -> str:
    """What a router that nobody has configured has: its interfaces, shut down."""
    ends = [split_end(end) for link in topology.links.values() for end in link.ends]
    names = [ios_interface(interface) for node, interface in ends if node == name]
    return "".join(f"interface {interface}\n no ip address\n shutdown\n" for interface in sorted(names)) + "end\n"


def ios_interface(linux: str) -> str:
    """The IOS name of an interface by its name in Linux: `gi0-0` is GigabitEthernet0/0."""
    return linux.replace("-", "/")


def _substituted(text: str, values: Mapping[str, Any], folder: Path, environ: Mapping[str, str] | None) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in values:
            raise ValueError(f"no parameter is named '{name}'")
        found = values[name]
        if isinstance(found, dict):
            found = SecretSource(**found)
        if not isinstance(found, SecretSource):
            return str(found)
        return _UNREAD if environ is None else resolve_secret(found, folder, environ).reveal().decode()

    return _REFERENCE.sub(value, text)


def with_defaults(text: str, file: Path) -> str:
    """A configuration with the defaults of the parameters of the topology file beside it."""
    values, _ = parameter_values(parse(file.read_text(errors="replace")), {}, ())
    return _substituted(text, values, file.parent, None)


def text_digest(text: str) -> str:
    """Tells one start-up configuration from another."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_routers(texts: Mapping[str, str], topology: Topology, source: Source) -> dict[str, Configuration]:
    """The configurations; a line that is refused is a problem of the topology."""
    found: dict[str, Configuration] = {}
    for name, text in texts.items():
        reading = read_configuration(text)
        found[name] = reading.configuration
        file = topology.nodes[name].config or "its configuration"
        for finding in reading.refused[:_MOST]:
            message = f"{file}:{finding.line}: '{finding.text.strip()}': {finding.told.removeprefix('% ')}"
            hint = "a line that `testbed ios check` does not refuse"
            source.problems.append(source.problem(("nodes", name, "config"), message, hint))
    return found


def overlaid(topology: Topology, configurations: Mapping[str, Configuration]) -> Topology:
    """The topology with the addresses that its routers' configurations say."""
    ends = {split_end(end) for link in topology.links.values() for end in link.ends}
    nodes = dict(topology.nodes)
    for name, configuration in configurations.items():
        addresses = interface_addresses(configuration)
        interfaces = {
            interface: Interface(addresses=list(addresses.get(interface, ())))
            for node, interface in sorted(ends)
            if node == name
        }
        loopbacks = {loopback: list(found) for loopback, found in loopback_addresses(configuration).items()}
        update = {"role": "router", "interfaces": interfaces, "loopbacks": loopbacks}
        nodes[name] = topology.nodes[name].model_copy(update=update)
    return topology.model_copy(update={"nodes": nodes})
