"""What IOS says of a keyword after `?`."""

from __future__ import annotations

__all__ = ["HELP"]

_TEXT = """
access-group Specify access control for packets
access-list Add an access list entry
access-lists List access lists
active Active connections
address Address
aggressive-mode Aggressive mode
all All of them
any Any source or destination
associations NTP associations
authenticate Get the CA certificate
authentication Authentication
auto-enroll Enroll automatically, and renew
brief Brief summary
cdp-url CRL distribution point
certificate Certificate
certificates Certificates
chain Certificate chain
clear Reset functions
client Client
clock Manage the system clock
configuration Configuration
configure Enter configuration mode
copy Copy from one file to another
counters Counters
crl Certificate revocation list
crls Certificate revocation lists
crypto Encryption module
database Certificate server database
debug Debugging functions (see also 'undebug')
default Set a command to its defaults
deny Specify packets to reject
description Description
detail Detailed information
detailed Detailed information
disable Turn off privileged commands
do Run exec commands in configuration mode
domain Domain name system
dynamic-map Specify a dynamic crypto map template
enable Turn on privileged commands
encryption Set encryption algorithm
end Exit from configure mode
engine Crypto engine
enroll Request a certificate from a CA
enrollment Enrollment parameters
exit Exit from the current mode
generate Generate new keys
grant Grant enrollment requests
group Diffie-Hellman group
hash Hash algorithm
hostname Set system's network name
identity Identity
ikev2 IKE version 2
info Display information
interface Select an interface to configure
ip Global IP configuration subcommands
ipsec IPsec
ipv6 Global IPv6 configuration subcommands
isakmp IKE version 1
issuer-name Issuer name
keepalive Dead peer detection
key Key
keyring Keyring
lifetime Lifetime
line Configure a terminal line
logging Logging
map Crypto map
master Act as NTP master clock
match Match values
mode Mode
mypubkey Public keys of this router
nat NAT
no Negate a command or set its defaults
ntp Network Time Protocol
password Password
peer Peer
permit Specify packets to forward
ping Send echo messages
pki Public key infrastructure
policy Policy
profile Profile
proposal Proposal
reload Halt and perform a cold restart
reject Reject enrollment requests
remove Remove enrollment requests
requests Enrollment requests
revocation-check How to check for revocation
revoke Revoke a certificate
route IP routing table
rsa RSA keys
rsakeypair Key pair of the certificate
running-config Current operating configuration
sa Security associations
section Section of the output
security-association Security associations
server Server
session Sessions
set Set values
show Show running system information
shutdown Shut down
startup-config Startup configuration
status Status
subject-name Subject name
terminal Set terminal line parameters
traceroute Trace route to destination
transform-set Transform set
trustpoint Define a CA trustpoint
trustpoints Trustpoints
undebug Disable debugging functions (see also 'debug')
username Establish user name authentication
verbose Verbose information
arp Address resolution
bandwidth Bandwidth
banner Define a login banner
cdp Cisco Discovery Protocol
dhcp DHCP
duplex Duplex operation
encapsulation Encapsulation type
erase Erase a file system
fqdn Fully qualified domain name
help Description of the interactive help system
inside Inside interface of address translation
ip-address IP address of the router
load-interval Interval of load calculation
media-type Interface media type
mtu Maximum transmission unit
negotiation Negotiation mode
outside Outside interface of address translation
pfs Perfect forward secrecy
prefer Prefer this server when possible
router Enable a routing process
secondary A secondary address
secret An encrypted password
serial-number Serial number of the router
service Use of network based services
service-policy Service policy
source Source interface or address
speed Speed of the interface
standby HSRP
subject-alt-name Subject alternative name
switchport Switching mode
trusted-key Key numbers of trusted time sources
tunnel Tunnel interface
vrf VPN routing and forwarding
version System hardware and software status
write Write running configuration to memory or terminal
"""

HELP: dict[str, str] = {word: text for word, _, text in (line.partition(" ") for line in _TEXT.split("\n")) if word}
