"""The configuration commands by mode, in the order in which `show running-config` shows them."""
