"""BER (X.690) from the network as a tree, and DER back from it.

Bounded: a message can cost no more than its length times a small factor, whatever it claims. Routers and Java clients
send indefinite lengths, constructed strings and lengths that are not minimal; `Element.der` gives them in DER.
"""

from __future__ import annotations

__all__ = ["MAX_DEPTH", "MAX_ELEMENTS", "BerError", "Element", "parse"]

MAX_DEPTH, MAX_ELEMENTS = 32, 4096
_CONSTRUCTED, _CLASS, _INDEFINITE = 0x20, 0xC0, 0x80
_STRINGS = frozenset({0x04, 0x0C, 0x12, 0x13, 0x14, 0x15, 0x16, 0x19, 0x1A, 0x1B, 0x1C, 0x1E})


class BerError(ValueError):
    """Octets that are no BER, or more of it than anybody needs."""


class Element:
    """A value: its identifier octet, and either its content octets or its parts."""

    __slots__ = ("content", "parts", "tag")

    def __init__(self, tag: int, content: bytes = b"", parts: list[Element] | None = None) -> None:
        self.tag = tag
        self.content = content
        self.parts = parts

    def der(self) -> bytes:
        """The element in DER. The order of a SET is kept: what was signed was signed in that order."""
        body = self.body()
        return bytes((self.tag,)) + length(len(body)) + body

    def body(self) -> bytes:
        """The content octets in DER."""
        return self.content if self.parts is None else b"".join([part.der() for part in self.parts])

    def __getitem__(self, index: int) -> Element:
        """The part at an index. Raises BerError where there is none."""
        try:
            return self.children[index]
        except IndexError:
            raise BerError(f"an element of tag {self.tag:#04x} has no part {index}") from None

    def __len__(self) -> int:
        return len(self.children)

    @property
    def children(self) -> list[Element]:
        if self.parts is None:
            raise BerError(f"an element of tag {self.tag:#04x} has no parts")
        return self.parts

    def expect(self, tag: int) -> Element:
        """Itself, if it has this tag. Raises BerError."""
        if self.tag != tag:
            raise BerError(f"tag {self.tag:#04x} instead of {tag:#04x}")
        return self

    def integer(self) -> int:
        if not self.expect(0x02).content:
            raise BerError("an INTEGER without octets")
        return int.from_bytes(self.content, "big", signed=True)

    def oid(self) -> str:
        """An OBJECT IDENTIFIER in dots. Raises BerError."""
        octets = self.expect(0x06).content
        if not octets or octets[-1] & 0x80:
            raise BerError("an OBJECT IDENTIFIER that does not end")
        arcs, value = [], 0
        for octet in octets:
            value = value << 7 | octet & 0x7F
            if value >> 128:
                raise BerError("an OBJECT IDENTIFIER with a huge arc")
            if not octet & 0x80:
                arcs.append(value)
                value = 0
        first = min(arcs[0] // 40, 2)
        return ".".join(map(str, (first, arcs[0] - first * 40, *arcs[1:])))

    def bits(self) -> bytes:
        """A BIT STRING of whole octets. Raises BerError."""
        if not self.expect(0x03).content or self.content[0] != 0:
            raise BerError("a BIT STRING that is not of whole octets")
        return self.content[1:]

    def as_string(self, tag: int) -> Element:
        """A string whose definition says IMPLICIT, and that was sent in pieces: put together, with its primitive tag.

        Which context tags are strings only the schema knows; universal ones are put together when they are read.
        """
        if self.parts is None:
            return self.expect(tag)
        self.expect(tag | _CONSTRUCTED)
        return Element(tag, _joined(self.parts, 0x04))


def length(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


def parse(data: bytes) -> Element:
    """One element that is all of the data, but for line ends and padding after it. Raises BerError."""
    reader = _Reader(data)
    element, end = reader.element(0, len(data), 0)
    if data[end:].strip(b"\r\n\0"):
        raise BerError("something follows the end")
    return element


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = MAX_ELEMENTS

    def element(self, at: int, end: int, depth: int) -> tuple[Element, int]:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise BerError("nested too deeply, or too many elements")
        tag, size, at = self._header(at, end)
        if not tag & _CONSTRUCTED:
            if size is None:
                raise BerError("a primitive element of indefinite length")
            return Element(tag, self._data[at : at + size]), at + size
        parts, at = self._parts(at, end, size, depth + 1)
        if tag & ~_CONSTRUCTED in _STRINGS and not tag & _CLASS:
            primitive = tag & ~_CONSTRUCTED
            return Element(primitive, _joined(parts, primitive)), at
        if tag == 0x23:
            raise BerError("a constructed BIT STRING")
        return Element(tag, parts=parts), at

    def _parts(self, at: int, end: int, size: int | None, depth: int) -> tuple[list[Element], int]:
        parts: list[Element] = []
        stop = end if size is None else at + size
        while size is None or at < stop:
            if size is None and self._data[at : at + 2] == b"\0\0" and at + 2 <= end:
                return parts, at + 2
            part, at = self.element(at, stop, depth)
            parts.append(part)
        return parts, at

    def _header(self, at: int, end: int) -> tuple[int, int | None, int]:
        if at + 2 > end:
            raise BerError("the end comes too early")
        tag, size = self._data[at], self._data[at + 1]
        at += 2
        if tag & 0x1F == 0x1F:
            raise BerError("a tag of several octets")
        if size == _INDEFINITE:
            return tag, None, at
        if size > _INDEFINITE:
            octets = size & 0x7F
            if octets > 8 or at + octets > end:
                raise BerError("a length of too many octets")
            size = int.from_bytes(self._data[at : at + octets], "big")
            at += octets
        if at + size > end:
            raise BerError("a length past the end")
        return tag, size, at


def _joined(parts: list[Element], tag: int) -> bytes:
    if any(part.parts is not None or part.tag != tag for part in parts):
        raise BerError("a constructed string of other things than strings")
    return b"".join([part.content for part in parts])
