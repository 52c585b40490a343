"""`show`: every value is what a daemon, the kernel or the configuration says now."""

from testbed.console.show import ikev2, ipsec, isakmp, ntp, pki, system

__all__ = ["SHOW"]

SHOW = (*system.SHOW, *ntp.SHOW, *isakmp.SHOW, *ipsec.SHOW, *ikev2.SHOW, *pki.SHOW)
