"""Redaction: what goes, what stays, what still matches."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.redact import Redactor


def redactor(**known: str) -> Redactor:
    made = Redactor()
    for kind, value in known.items():
        made.learn(kind, value)
    return made


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("from 192.0.2.7 port 22", "from redacted-ipv4-1 port 22"),
        ("192.0.2.7:8080, 192.0.2.7.", "redacted-ipv4-1:8080, redacted-ipv4-1."),
        ("ip 10.0.0.1 then 10.0.0.2 then 10.0.0.1", "ip redacted-ipv4-1 then redacted-ipv4-2 then redacted-ipv4-1"),
        ("inet6 fe80::1/64", "inet6 redacted-ipv6-1/64"),
        ("[2001:db8::1]:443 and 2001:0db8:0:0:0:0:0:1.", "[redacted-ipv6-1]:443 and redacted-ipv6-1."),
        ("peer 2001:db8::5: gone", "peer redacted-ipv6-1: gone"),
        ("::ffff:192.0.2.9", "redacted-ipv6-1"),
        ("address:fe80::1 xface:fe80::1", "address:redacted-ipv6-1 xface:redacted-ipv6-1"),
        ("link/ether 02:42:AC:11:00:02 brd", "link/ether redacted-mac-1 brd"),
        ("02-42-ac-11-00-02 is 02:42:ac:11:00:02", "redacted-mac-1 is redacted-mac-1"),
        ("80:00:02:08:fe:80:00:00:00:00:00:00:e4:1d:2d:03:00:aa:bb:cc", "redacted-mac-1"),
        ("enx0242ac110002: link up", "enxredacted-mac-1: link up"),
        ("/home/bob/x.py and /home/bob", "/home/redacted-user-1/x.py and /home/redacted-user-1"),
        ("usb 1-1: SerialNumber: A0B1C2D3", "usb 1-1: SerialNumber: redacted-serial-1"),
        ("root=UUID=1234-ABCD-77 ro", "root=UUID=redacted-serial-1 ro"),
        ('{"serial": "abc12345"}', '{"serial": "redacted-serial-1"}'),
    ],
)  # fmt: skip
def test_redact_addresses_and_serials_by_their_form(text: str, wanted: str) -> None:
    assert Redactor().text(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "0000:c1:00.0: BAR 0 [mem 0x20000000000-0x21fffffffff 64bit pref]",
        "127.0.0.1, 0.0.0.0, ::1, :: and 255.255.255.255",
        "12:34:56 2026-11-28T10:31:58+00:00",
        "std::vector a::b::c",
        "IP 13.0.6, version 9.4.3, kernel 7.3.4-1~bpo13+1",
        "firmware 1.2.3.4.5 and 999.1.1.1",
        "regs 0x00000000 00 11 22 33 44 55",
        "GC[0].GRBM_STATUS @ 0x2004: 0x3028 (GUI_ACTIVE=0)",
        "Serial: 8250/16550 driver",
    ],
)
def test_redact_leaves_what_is_no_secret(text: str) -> None:
    assert Redactor().text(text) == text


def test_redact_known_values_in_any_spelling_with_one_pseudonym() -> None:
    made = redactor(host="Node7.lab.example", user="alice", serial="0x00ab12cd34ef5678", mac="02:42:ac:11:00:02")
    text = made.text("NODE7 node7.lab.example alice@node7 AB12CD34EF5678 00ab12cd34ef5678 48151623 0242ac110002")
    host, serial = "redacted-host-1", "redacted-serial-1"
    assert text == f"{host} {host} redacted-user-1@{host} {serial} {serial} 48151623 redacted-mac-1"
    assert made.text(str(0xAB12CD34EF5678)) == "redacted-serial-1"
    assert {row["kind"]: row["distinct"] for row in made.summary()["redacted"]} == {
        "host": 1,
        "user": 1,
        "serial": 1,
        "mac": 1,
    }


def test_redact_users_inside_other_words_stay() -> None:
    assert redactor(user="amd").text("amdgpu amd_iommu amd") == "amdgpu redacted-user-1_iommu redacted-user-1"


@pytest.mark.parametrize("value", ["", "a", "ab", "root", "localhost", "(none)", "0", "000", "N/A"])
def test_redact_too_short_or_common_values_are_not_learned(value: str) -> None:
    text = "a ab root localhost (none) 0 000 N/A"
    assert redactor(user=value).text(text) == text


def test_redact_text_with_bytes_that_are_no_utf8_keeps_them() -> None:
    made = redactor(host="turing7")
    assert (
        made.data(b"\xff\x00turing7\x80 192.0.2.1\n", binary=False) == b"\xff\x00redacted-host-1\x80 redacted-ipv4-1\n"
    )


def test_redact_binaries_keep_their_length() -> None:
    made = redactor(host="turing7", serial="0123456789abcdef")
    data = (
        b"\x00TURING7\x01"
        + (0x0123456789ABCDEF).to_bytes(8, "little")
        + (0x0123456789ABCDEF).to_bytes(8, "big")
        + b"\x02"
    )
    assert made.data(data, binary=True) == b"\x00xxxxxxx\x01" + bytes(16) + b"\x02"
    assert made.counts == Counter(host=1, serial=2)


def test_redact_json_keeps_keys_whatever_users_are_called() -> None:
    made = redactor(user="health")
    assert made.value({"health": ["health", 1, None, {"health": "x health"}]}) == {
        "health": ["redacted-user-1", 1, None, {"health": "x redacted-user-1"}]
    }


def test_redact_off_changes_and_counts_nothing() -> None:
    made = Redactor(on=False)
    made.learn("host", "turing7")
    assert made.data(b"turing7 192.0.2.1", binary=False) == b"turing7 192.0.2.1"
    assert made.summary() == {"on": False, "complete": False, "redacted": []}


def test_redact_twice_changes_nothing_more() -> None:
    made = redactor(host="turing7", user="redacted")
    once = made.text("turing7 /home/bob 192.0.2.1 serial: abc12345")
    assert made.text(once).count("redacted-host-1") == 1
    plain = Redactor()
    first = plain.text("/home/bob 192.0.2.1 serial: abc12345")
    assert plain.text(first) == first


WORDS = st.lists(
    st.sampled_from(["x", ":", "f", "0", ".", "-", " ", "::", "1.", "::f", "a1:", "serial:", "\n", "é"]), max_size=60
)


@given(WORDS)
def test_redact_any_text_holds_no_address_afterwards(words: list[str]) -> None:
    text = " 192.0.2.55 ".join(["".join(words), "".join(words)])
    told = Redactor().text(text)
    assert "192.0.2.55" not in told


def test_redact_long_runs_cost_no_more_than_their_length() -> None:
    """Each of these is a worst case of a naive expression: quadratic, they would not end in hours."""
    made = redactor(host="turing7", user="alice")
    for text in (
        "a" * 2_000_000,
        "1." * 1_000_000,
        "f:" * 1_000_000,
        "00-" * 600_000,
        "serial " * 300_000,
        "/home/" * 300_000,
    ):
        assert len(made.text(text)) > 0


def test_redact_many_users_are_all_found() -> None:
    made = Redactor()
    for number in range(500):
        made.learn("user", f"user{number}x")
    text = made.text(" ".join(f"user{number}x" for number in range(500)))
    assert re.fullmatch(r"(redacted-user-\d+ ?){500}", text)
    assert len(set(text.split())) == 500
