"""From a device to the files its daemons read. Pure."""

from testbed.render.files import RenderedFile, render_files, render_guard

__all__ = ["RenderedFile", "render_files", "render_guard"]
