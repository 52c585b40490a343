"""The certificate authority that runs inside a CA node: SCEP, EST, OCSP and CRLs over HTTP, as one process.

It is copied into the node's image and runs there on Debian's Python and `cryptography`, so it imports nothing else of
the testbed. DER is written and BER read here: `cryptography` refuses much of what routers send, and cannot build CMS.
"""
