"""From a device to the files its daemons read. Pure."""

from testbed.render.certificates import CA_SETTINGS
from testbed.render.content import RenderedFile
from testbed.render.files import NTS_PEERS, render_files, render_guard

__all__ = ["CA_SETTINGS", "NTS_PEERS", "RenderedFile", "render_files", "render_guard"]
