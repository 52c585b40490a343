"""Links, addresses, probes and captures: pyroute2 and raw sockets, nothing shelled out."""
