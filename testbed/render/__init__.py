"""From a device to the files its daemons read. Pure."""

from testbed.render.files import RenderedFile, render_files

__all__ = ["RenderedFile", "render_files"]
