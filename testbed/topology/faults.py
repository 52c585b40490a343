"""Faults that a topology may declare, by kind; the command line and Python are checked by the same models."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from testbed.topology.values import list_of_one

__all__ = [
    "KINDS",
    "ClockStep",
    "DaemonFault",
    "DiskFull",
    "Fault",
    "Flood",
    "IkeMessages",
    "Line",
    "LinkDown",
    "NamesGone",
    "Nat",
    "Partition",
    "Restart",
]

_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")]
_Percent = Annotated[float, Field(ge=0, le=100)]
_Link = Annotated[_Name, Field(description="Its name in `links`.")]
_Node = Annotated[_Name, Field(description="Its name in `nodes`.")]
_Exchange = Literal[
    "IKE_SA_INIT",
    "IKE_AUTH",
    "CREATE_CHILD_SA",
    "INFORMATIONAL",
    "main mode",
    "aggressive mode",
    "quick mode",
    "informational",
    "transaction",
]
_Direction = Annotated[
    Literal["both", "forward", "backward"], Field(description="`forward` is away from the router whose tunnel uses it.")
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Line(_Model):
    """A bad line: what happens to each frame is chosen by chance, from a seed, so that a run can be repeated."""

    kind: Literal["line"]
    link: _Link
    loss: Annotated[_Percent, Field(description="Percent of the frames that are lost.")] = 0.0
    duplicate: Annotated[_Percent, Field(description="Percent that arrive twice.")] = 0.0
    reorder: Annotated[_Percent, Field(description="Percent that are held for 10 ms, and so are overtaken.")] = 0.0
    corrupt: Annotated[_Percent, Field(description="Percent of which one bit is flipped.")] = 0.0
    delay_ms: Annotated[float, Field(ge=0, le=10_000, description="How long every frame takes, one way.")] = 0.0
    jitter_ms: Annotated[float, Field(ge=0, le=10_000, description="Up to so much longer or shorter.")] = 0.0
    rate_kbit: Annotated[float | None, Field(ge=1, description="Thousands of bits per second, each way.")] = None
    mtu: Annotated[int | None, Field(ge=68, le=65535, description="Longer IP packets are dropped.")] = None
    icmp: Annotated[bool, Field(description="Tell their sender so (RFC 792, RFC 4443), as a router does.")] = True
    direction: _Direction = "both"
    by: Annotated[
        Literal["auto", "forwarder", "netem"],
        Field(description="`auto`: netem where the kernel has it and can do what is asked for, else the forwarder."),
    ] = "auto"
    seed: Annotated[int, Field(description="Of the chances: the same seed, the same fate of each frame.")] = 1


class LinkDown(_Model):
    """A link without carrier: every node on it sees it go."""

    kind: Literal["down"]
    link: _Link


class Partition(_Model):
    """Links on which nothing passes though they are up: nobody is told."""

    kind: Literal["partition"]
    links: Annotated[
        list[_Name], BeforeValidator(list_of_one), Field(min_length=1, description="Their names in `links`.")
    ]


class IkeMessages(_Model):
    """What happens to single messages of IKE."""

    kind: Literal["ike"]
    link: _Link
    action: Annotated[
        Literal["drop", "duplicate", "delay", "reorder", "replay", "mangle"],
        Field(description="`reorder` lets the next one overtake it; `mangle` flips a bit behind the header."),
    ]
    exchange: Annotated[_Exchange | None, Field(description="Any when left out.")] = None
    message: Annotated[
        int | None,
        Field(
            ge=1, description="From the how manieth datagram of that exchange on; fragments count, repetitions do not."
        ),
    ] = None
    message_id: Annotated[int | None, Field(ge=0, description="By the ID in the header.")] = None
    count: Annotated[int, Field(ge=1, le=1000, description="How many messages at most.")] = 1
    delay_ms: Annotated[float, Field(ge=0, le=60_000, description="For `delay`.")] = 500.0
    direction: _Direction = "both"

    @model_validator(mode="after")
    def _delays_only_what_is_delayed(self) -> Self:
        if "delay_ms" in self.model_fields_set and self.action != "delay":
            raise ValueError(f"delay_ms is for `action: delay`, and this is `{self.action}`")
        return self


class Flood(_Model):
    """Half-open negotiations: IKE_SA_INIT requests in the name of a router's peer, which it answers with cookies."""

    kind: Literal["flood"]
    link: _Link
    node: Annotated[_Name, Field(description="The router that is flooded, an end of the link.")]
    count: Annotated[int, Field(ge=1, le=100_000, description="How many requests.")] = 60


class Nat(_Model):
    """A NAT box in the path: a router that gives its own address to what leaves it by a link."""

    kind: Literal["nat"]
    node: _Node
    link: _Link


class DaemonFault(_Model):
    """A daemon that is killed, or frozen; afterwards it runs again."""

    kind: Literal["daemon"]
    node: _Node
    daemon: Annotated[
        str, Field(min_length=1, description="`charon`, `chronyd`, `testbed-ca`, …: as `testbed status` calls it.")
    ] = "charon"
    action: Annotated[Literal["kill", "freeze"], Field(description="SIGKILL, or SIGSTOP.")] = "kill"


class Restart(_Model):
    """A node that is stopped; afterwards it is started again, as after a power cut."""

    kind: Literal["node"]
    node: _Node


class NamesGone(_Model):
    """A node that can resolve no name any more but `localhost`."""

    kind: Literal["dns"]
    node: _Node


class DiskFull(_Model):
    """A node whose storage (NVRAM, and a certificate authority's database) takes not one byte more."""

    kind: Literal["disk"]
    node: _Node


class ClockStep(_Model):
    """A clock that jumps, and back afterwards. Who speaks NTP may have corrected it meanwhile."""

    kind: Literal["clock"]
    node: _Node
    seconds: Annotated[float, Field(description="How far; before the present if negative.")]


Fault = Annotated[
    Line | LinkDown | Partition | IkeMessages | Nat | DaemonFault | Restart | NamesGone | DiskFull | ClockStep | Flood,
    Field(discriminator="kind"),
]


def _kinds(fault: Any) -> tuple[str, ...]:
    return tuple(get_args(model.model_fields["kind"].annotation)[0] for model in get_args(get_args(fault)[0]))


KINDS = _kinds(Fault)
