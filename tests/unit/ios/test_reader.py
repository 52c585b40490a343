"""Reading whole texts: modes, flat and indented, `no`, certificates, banners, and whatever else people paste."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.ios.reader import Editor, complaint, read_configuration

TREE = """hostname R1
!
crypto isakmp policy 10
 encr aes 256
 group 14
!
interface GigabitEthernet0/0
 ip address 10.0.0.1 255.255.255.0
!
ip route 0.0.0.0 0.0.0.0 10.0.0.2
!
end
"""


def text(source: str) -> str:
    reading = read_configuration(source)
    assert reading.refused == []
    return reading.configuration.text()


def test_what_is_shown_is_what_was_read() -> None:
    assert text(TREE) == TREE


def test_flat_text_is_the_same_as_indented() -> None:
    flat = "\n".join(line.strip() for line in TREE.splitlines() if line != "!")
    assert text(flat) == TREE


def test_indentation_means_nothing() -> None:
    assert text("\n".join(f"    {line}" for line in TREE.splitlines())) == TREE
    assert text(TREE.replace("\n", "\r\n")) == TREE


def test_the_head_of_show_run_is_passed_over() -> None:
    head = "Building configuration...\n\nCurrent configuration : 1234 bytes\n!\n"
    assert text(head + TREE) == TREE


def test_abbreviations_and_the_old_spelling() -> None:
    source = "host R1\ncry isa pol 10\nen a 256\ngr 14\nint g0/0\nip add 10.0.0.1 255.255.255.0\nip route 0.0.0.0 0.0.0.0 10.0.0.2\n"
    assert text(source) == TREE
    assert "crypto pki trustpoint T\n enrollment url http://192.0.2.1" in text(
        "crypto ca trustpoint T\nenrollment url http://192.0.2.1\n"
    )


def test_a_global_command_leaves_the_mode_that_it_stands_in() -> None:
    shown = text("interface GigabitEthernet0/0\nip route 10.0.0.0 255.0.0.0 10.1.1.1\n")
    assert "interface GigabitEthernet0/0\n!\nip route 10.0.0.0" in shown


def test_a_mode_that_is_entered_again_goes_on() -> None:
    source = "crypto map M 10 ipsec-isakmp\nset peer 10.0.0.1\nexit\ncrypto map M 10\nmatch address 101\n"
    assert "crypto map M 10 ipsec-isakmp\n set peer 10.0.0.1\n match address 101\n" in text(source)


@pytest.mark.parametrize(
    ("lines", "absent"),
    [
        (["no hostname"], "hostname"),
        (["no crypto isakmp policy 10"], "isakmp"),
        (["crypto isakmp policy 10", "no encryption"], "encr"),
        (["crypto isakmp policy 10", "default group"], "group"),
        (["no interface g0/0"], "interface"),
        (["interface g0/0", "no ip address"], "ip address"),
        (["no ip route 0.0.0.0 0.0.0.0 10.0.0.2"], "ip route"),
        (["no ip route 0.0.0.0 0.0.0.0"], "ip route"),
    ],
)
def test_no(lines: list[str], absent: str) -> None:
    shown = text(TREE + "\n".join(lines) + "\n")
    assert absent not in shown
    assert shown != TREE


def test_no_of_a_default_is_kept_and_taken_back() -> None:
    assert "no ip domain-lookup" in text("no ip domain-lookup\n")
    assert "ip domain-lookup" not in text("no ip domain-lookup\nip domain-lookup\n")
    assert " shutdown" in text("interface g0/0\nshutdown\n")
    assert " shutdown" not in text("interface g0/0\nshutdown\nno shutdown\n")
    assert " no shutdown" in text("crypto pki server S\nno shutdown\n")


def test_no_of_what_is_not_there_is_no_error() -> None:
    assert text(TREE + "no access-list 101\nno crypto map M 10\n") == TREE


def test_entries_of_a_named_list_have_numbers() -> None:
    source = "ip access-list extended L\npermit ip any any\ndeny icmp any any\n15 permit tcp any any eq www\n"
    reading = read_configuration(source)
    (section,) = reading.configuration.all("ip access-list extended")
    assert [(item.get("sequence"), item.get("protocol")) for item in section.ordered()] == [
        (10, "ip"),
        (15, "tcp"),
        (20, "icmp"),
    ]
    shown = reading.configuration.text()
    assert " permit ip any any\n permit tcp any any eq www\n deny icmp any any\n" in shown
    assert "deny icmp" not in text(source + "no 20\n")
    assert "permit tcp" not in text(source + "no permit tcp any any eq www\n")


CHAIN = """crypto pki certificate chain T
 certificate ca 01
  308201C3 3082012C A0030201 02020101
  300D0609
  \tquit
hostname AFTER
"""


def test_a_certificate_of_many_lines() -> None:
    shown = text(CHAIN)
    assert "  308201C3 3082012C A0030201 02020101\n  300D0609\n  \tquit\n" in shown
    assert "hostname AFTER" in shown
    assert "hostname AFTER" in text(
        "crypto pki certificate chain T\n certificate ca 01 nvram:CA#1CA.cer\nhostname AFTER\n"
    )
    assert "hostname AFTER" in text(CHAIN.replace("  \tquit\n", ""))


def test_a_banner_may_say_anything() -> None:
    assert text("ban motd ^C\n  interface nothing\n!\nbye ^C\n").startswith(
        "banner motd ^C\n  interface nothing\n!\nbye ^C\n"
    )
    assert "hostname AFTER" in text("banner motd ^C\ninterface nothing\n!\n^C\nhostname AFTER\n")
    assert "hostname AFTER" in text("banner login #hello#\nhostname AFTER\n")


def test_do_is_no_configuration() -> None:
    reading = read_configuration("do show version\n")
    assert reading.refused == []
    assert reading.configuration.children == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("foo", "foo\n^\n% Invalid input detected at '^' marker."),
        ("hostname", "% Incomplete command."),
        ("no", "% Incomplete command."),
        ("ip", "% Incomplete command."),
        ("crypto isakmp policy 20000", f"crypto isakmp policy 20000\n{' ' * 21}^\n% Invalid input"),
        ("router ospf 1", "% dynamic routing is not built yet; use static routes"),
        ("crypto isakmp policy 10\nencryption des", "% single DES"),
        ("crypto ipsec transform-set T esp-des esp-md5-hmac", "% single DES"),
        ("crypto ipsec transform-set T esp-aes comp-lzs", "% LZS compression"),
        ("crypto ipsec transform-set T ah-sha-hmac", "% AH is not built"),
        ("crypto gdoi group G", "% GDOI"),
        ("crypto map M 10 gdoi", "% GDOI"),
        ("ip address 10.0.0.1 255.255.255.0", "ip address 10.0.0.1 255.255.255.0\n   ^\n% Invalid input"),
        (
            "interface g0/0\nip address 10.0.0.1 255.0.255.0",
            "% Invalid input detected at '^' marker. (255.0.255.0 is no",
        ),
        ("crypto pki trustpoint T\nsubject-name nonsense", "is no attribute of a distinguished name"),
        ("crypto ikev2 keyring K\npeer P\npre-shared-key hex 0Q", "is no key in hexadecimal"),
        ("c", '% Ambiguous command:  "c"'),
    ],
)
def test_what_is_refused_says_why(line: str, told: str) -> None:
    (finding,) = read_configuration(line).refused
    assert told in complaint(finding)


def test_nothing_is_dropped() -> None:
    source = TREE + "foo\nrouter ospf 1\n network 10.0.0.0 0.0.0.255 area 0\n"
    findings = read_configuration(source).findings
    assert len(findings) == len(source.split("\n"))
    assert [finding.line for finding in findings] == list(range(1, len(findings) + 1))


def test_what_a_refused_mode_holds_is_refused_with_it() -> None:
    reading = read_configuration("router ospf 1\n network 10.0.0.0 0.0.0.255 area 0\nhostname AFTER\n")
    assert len(reading.refused) == 2
    assert reading.configuration.hostname == "AFTER"


def test_a_long_line_or_binary_is_refused() -> None:
    assert read_configuration("hostname " + "x" * 5000).refused
    assert read_configuration("host\x00name R1").refused


def test_modes_and_prompts() -> None:
    editor = Editor(read_configuration("").configuration)
    for line, prompt in (
        ("crypto pki server S", "cs-server"),
        ("crypto pki trustpoint T", "ca-trustpoint"),
        ("crypto isakmp policy 1", "config-isakmp"),
        ("crypto isakmp profile P", "conf-isa-prof"),
        ("crypto keyring K", "conf-keyring"),
        ("crypto ipsec transform-set T esp-aes", "cfg-crypto-trans"),
        ("crypto ipsec profile P", "ipsec-profile"),
        ("crypto map M 1 ipsec-isakmp", "config-crypto-map"),
        ("crypto ikev2 proposal P", "config-ikev2-proposal"),
        ("crypto ikev2 keyring K", "config-ikev2-keyring"),
        ("peer P", "config-ikev2-keyring-peer"),
        ("interface g0/0.10", "config-subif"),
        ("interface g0/0", "config-if"),
        ("line vty 0 4", "config-line"),
        ("exit", "config"),
    ):
        editor.feed(line)
        assert editor.prompt == prompt


@given(st.text(max_size=300))
@settings(max_examples=500)
def test_no_text_breaks_it(source: str) -> None:
    reading = read_configuration(source)
    assert len(reading.findings) == source.count("\n") + 1
    again = read_configuration(reading.configuration.text())
    assert again.configuration.text() == reading.configuration.text()
