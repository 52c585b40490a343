"""From a device to the files its daemons read. Pure."""

from testbed.render.certificates import CA_SETTINGS, TRUSTPOINTS
from testbed.render.content import RenderedFile
from testbed.render.files import CONNECTIONS, NTS_PEERS, render_files, render_guard

__all__ = ["CA_SETTINGS", "CONNECTIONS", "NTS_PEERS", "TRUSTPOINTS", "RenderedFile", "render_files", "render_guard"]
