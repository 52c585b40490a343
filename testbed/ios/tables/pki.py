"""Keys, trustpoints, certificate servers, certificates."""

from __future__ import annotations

from testbed.ios.commands import compiled, kept, mode, refused

__all__ = ["GLOBAL", "MODES"]

_PKI = "enrol"  # the file of images/bin that speaks SCEP by strongSwan's pki
_HASH = "md5|sha1|sha256|sha384|sha512"

GLOBAL = (
    compiled("crypto key generate rsa [{flag=general-keys|usage-keys|exportable|signature|encryption | "
             "modulus <modulus:360-4096> | label <label:name> | storage <url:url>}...]",
             "pki --gen --type rsa", key=("label",)),
    refused("crypto key generate ec [<text:line>]", "SCEP encrypts to the key, which only RSA can do here"),
    kept("crypto key word=storage|encrypt|decrypt|lock|unlock [<text:line>]", "keys stay in the node", key=("*",),
         name="crypto key other"),
    refused("crypto key word=export|import|move|pubkey-chain [<text:line>]", "keys stay in the node that made them"),
    compiled("crypto pki server <server:name>", "testbed-ca: name {server}", key=("server",), enters="cs-server"),
    compiled("crypto pki trustpoint <trustpoint:name>", "/etc/testbed/trustpoints/{trustpoint}", key=("trustpoint",),
             enters="ca-trustpoint"),
    kept("crypto pki certificate map <map:name> <sequence:1-65535>",
         "any certificate of the trustpoint's CA is accepted by crypto maps, as on IOS without an ISAKMP profile",
         key=("map", "sequence"), enters="ca-certificate-map"),
    kept("crypto pki certificate chain <trustpoint:name>",
         "certificates are those that the node has enrolled for; these are shown and not installed",
         key=("trustpoint",), enters="config-cert-chain"),
    compiled("crypto pki authenticate <trustpoint:name>", "enrol authenticate {trustpoint}", key=("trustpoint",)),
    compiled("crypto pki enroll <trustpoint:name>", "enrol request {trustpoint}", key=("trustpoint",)),
    kept("crypto pki profile <text:line>", key=("*",), enters="ca-profile-enroll"),
    kept("crypto pki word=benchmark|crl|default|token|trustpool [<text:line>]", key=("*",), name="crypto pki other"),
    refused("crypto pki word=export|import [<text:line>]", "keys and certificates stay in the node that has them"),
)  # fmt: skip

MODES = (
    mode(
        "cs-server",
        compiled("database level level=minimum|names|complete", "ca.json: database_level {level}"),
        compiled("database url [kind=cnm|crl|crt|ser|pem|p12 [flag=publish]] <url:url>",
                 "ca.json: database_directory (NVRAM of the node)", key=("kind",)),
        compiled("database archive format=pem|pkcs12 [password [type=0|7] <password:word>]",
                 "ca.json: archive_format {format}"),
        compiled("issuer-name <dn:dn>", "ca.json: subject {dn}"),
        compiled("cdp-url <url:httpurl>", "ca.json: cdp_url {url}"),
        compiled("grant how=none|auto|ra-auto", "ca.json: grant {how}"),
        kept("grant auto word=rollover|tftp|trustpoint [<text:line>]", "rollover and trustpoint grants are decided like others", key=("*",), name="grant other"),
        compiled("hash hash=sha1|sha256|sha384|sha512", "ca.json: hash {hash}"),
        refused("hash hash=md5", "MD5: no current library signs certificates with it"),
        compiled("lifetime ca-certificate <days:0-7305> [<hours:0-23> [<minutes:0-59>]]", "ca.json: ca_lifetime_s"),
        compiled("lifetime certificate <days:0-7305> [<hours:0-23> [<minutes:0-59>]]", "ca.json: certificate_lifetime_s"),
        compiled("lifetime crl <hours:0-336> [<minutes:0-59>]", "ca.json: crl_lifetime_s"),
        compiled("lifetime enrollment-request <hours:0-1000>", "ca.json: request_lifetime_s"),
        compiled("auto-rollover [<days:0-1095> [<hours:0-23> [<minutes:0-59>]]]", "ca.json: auto_rollover_s"),
        refused("mode how=sub-cs|ra [<text:line>]", "subordinate and registration authorities are not built"),
        kept("serial-number <text:line>", key=("*",)),
        kept("eku <text:line>", key=("*",)),
        compiled("shutdown", "testbed-ca does not run", default=True),
    ),
    mode(
        "ca-trustpoint",
        compiled("enrollment url <url:httpurl> [<text:line>]", "pki --scep --url {url}"),
        kept("enrollment selfsigned", "the router's own HTTPS server, which is not here; no certificate is made"),
        refused("enrollment terminal [pem]", "enrolment by hand is not built; use an enrolment URL"),
        kept("enrollment mode ra", "found out from what the CA answers"),
        compiled("enrollment retry count <count:1-100>", "enrold asks until it gets an answer"),
        compiled("enrollment retry period <minutes:1-60>", "enrold asks again after {minutes} minutes"),
        kept("enrollment word=command|credential|http-proxy|profile [<text:line>]", key=("*",), name="enrollment other"),
        kept("usage <text:line>", key=("*",)),
        compiled("serial-number [how=none]", "serialNumber in the subject"),
        compiled("fqdn {how=none | <fqdn:host>}", "pki --san {fqdn}"),
        compiled("ip-address {how=none | <interface:interface> | <address:ip>}", "pki --san"),
        compiled("subject-name <dn:dn>", "pki --dn {dn}"),
        kept("subject-alt-name <text:line>", "the FQDN is the alternative name"),
        compiled("password [type=0|7] <password:line>", "pki --password"),
        compiled("fingerprint <fingerprint:fingerprint>", "the CA's certificate must have it"),
        compiled("revocation-check {way=crl|none|ocsp}...", "swanctl.conf: revocation"),
        compiled("rsakeypair <label:name> [<bits:360-4096> [<signature_bits:360-4096>]]", "/etc/swanctl/private/{label}.pem"),
        refused("eckeypair <label:name>", "SCEP encrypts to the key, which only RSA can do here"),
        compiled("auto-enroll [<percent:1-100>] [flag=regenerate]", "enrold renews at this part of the lifetime"),
        kept(f"hash hash={_HASH}", "requests are signed with SHA-256"),
        kept("source interface <interface:interface>", "the kernel chooses"),
        kept("vrf <text:line>", key=("*",)),
        kept("chain-validation [<text:line>]", key=("*",)),
        kept("match <text:line>", key=("*",)),
        kept("ocsp <text:line>", "the responder that certificates name is asked", key=("*",)),
        kept("authorization <text:line>", key=("*",)),
        kept("storage <text:line>", key=("*",)),
    ),
    mode(
        "ca-certificate-map",
        kept("field=subject-name|issuer-name|alt-subject-name|name|serial-number|unstructured-subject-name "
             "how=eq|ne|co|nc <text:line>", "kept with its map", key=("*",), name="field"),
        kept("field=expires-on|valid-start how=eq|ne|ge|lt <text:line>", "kept with its map", key=("*",), name="date"),
    ),
    mode(
        "config-cert-chain",
        kept("certificate [{kind=ca|self-signed|rollover}...] <serial:hex> [<url:url>]", "kept as text", key=("*",),
             enters="config-pubkey"),
    ),
    mode("config-pubkey", kept("<text:line>", "part of a certificate", name="other", key=("*",))),
    mode("ca-profile-enroll", kept("word=authentication|enrollment|parameter|source|method-list|credential|command <text:line>", key=("*",), name="other")),
)  # fmt: skip
