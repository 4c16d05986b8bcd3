"""Personal data: found with a checksum or a library, masked, never leaked."""

from __future__ import annotations

import time

import pytest

from groundup.core.errors import GroundupError
from groundup.data.cleaning.privacy import excerpt, finder, is_card, is_iban, mask

FIND = finder()

FINDS = [
    ("email", "write to jane.doe+lists@mail.example.co.uk, please", "jane.doe+lists@mail.example.co.uk"),
    ("email", "<jürgen@müller.de>", "jürgen@müller.de"),
    ("card", "card 4111 1111 1111 1111 exp", "4111 1111 1111 1111"),
    ("card", "5500-0000-0000-0004", "5500-0000-0000-0004"),
    ("card", "amex 378282246310005.", "378282246310005"),
    ("iban", "IBAN DE89 3704 0044 0532 0130 00 is mine", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB29NWBK60161331926819", "GB29NWBK60161331926819"),
    ("iban", "NO93 8601 1117 947,", "NO93 8601 1117 947"),
    ("ip", "from 8.8.8.8 today", "8.8.8.8"),
    ("ip", "at 2001:4860:4860::8888 it", "2001:4860:4860::8888"),
    ("phone", "call +44 20 7946 0958 now", "+44 20 7946 0958"),
    ("phone", "ring 0049 (30) 901820 today", "0049 (30) 901820"),
    ("phone", "+1-202-555-0173", "+1-202-555-0173"),
]


@pytest.mark.parametrize(("kind", "text", "found"), FINDS)
def test_found(kind, text, found):
    finds = FIND(text)
    assert [(k, text[start:end]) for k, start, end in finds] == [(kind, found)]
    assert mask(text, finds) == text.replace(found, f"<{kind}>")


CLEAN = [
    "4111 1111 1111 1112 has the wrong sum",
    "order 1234567890123452 begins as no issuer's cards do",
    "0000 0000 0000 0000",
    "DE89 3704 0044 0532 0130 01 has the wrong sum",
    "XX89370400440532013000 is no country",
    "see 10.0.0.1, 192.168.1.1, 127.0.0.1 and 300.1.2.3",
    "version 1.2.3.4.5 and 12:34:56, std::vector<a::b>",
    "in 1914-1918 and 1939-1945, pages 100-110",
    "pi is 3.14159265358979323846264338327950288",
    "+44 12 is too short; 2+2=4; C++ 11",
    "a@b, @handle, me@localhost, x @ y.z",
    "§ 433 Abs. 1 Satz 2 BGB, 1.000.000,00 EUR",
]


@pytest.mark.parametrize("text", CLEAN)
def test_not_found(text):
    assert FIND(text) == []


def test_national_numbers_need_their_country():
    text = "Ring 020 7946 0958 or come."
    assert FIND(text) == []
    assert mask(text, finder(["GB"])(text)) == "Ring <phone> or come."
    with pytest.raises(GroundupError, match="unknown country 'UK'"):
        finder(["UK"])


def test_finds_do_not_overlap():
    text = "mailto:4111111111111111@example.com and password=k9Xw2Qz7Lm4Tb8Vn3Rp6"
    assert mask(text, FIND(text)) == "mailto:<email> and password=<key>"


def test_checksums():
    assert is_card("4012888888881881") and not is_card("4012888888881882")
    assert is_iban("FR1420041010050500013M02606") and not is_iban("FR1420041010050500013M0260")


def test_an_excerpt_shows_no_part_of_a_find():
    secret = "jane.doe@example.com"
    text = "x" * 500 + f" {secret} " + "y" * 500
    for start in range(440, 600, 7):
        shown = excerpt(text, FIND, start)
        assert "doe@" not in shown and "jane" not in shown and "example" not in shown
        assert len(shown) <= 240
    block = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA75\n" * 60 + "-----END RSA PRIVATE KEY-----"
    assert excerpt(block + " after", FIND) == "<key> after"
    assert "MII" not in excerpt("before " + block, FIND, 500)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 300_000,
        "1" * 300_000,
        "a@" * 100_000,
        "A1 " * 100_000,
        "+1 " * 100_000,
        "1.1." * 70_000,
        "-----BEGIN PRIVATE KEY-----\n" * 10_000,
    ],
)
def test_hostile_text_costs_no_more_than_other(text):
    began = time.perf_counter()
    FIND(text)
    assert time.perf_counter() - began < 4
