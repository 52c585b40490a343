"""IKE as it crosses the wire: recorded on a live lab, dissected, and drawn as a ladder."""

from testbed.exchange.draw import to_svg, to_text
from testbed.exchange.messages import Message, read_messages
from testbed.exchange.record import Exchange, Phase, compare, record, together

__all__ = ["Exchange", "Message", "Phase", "compare", "read_messages", "record", "to_svg", "to_text", "together"]
