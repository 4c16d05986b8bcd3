"""Keys of known shapes, and passwords beside their names. The keys here are put together, so that none stands in a file."""

from __future__ import annotations

import pytest

from groundup.data.cleaning.keys import entropy, find_keys

RANDOM = "k9Xw2Qz7Lm4Tb8Vn3Rp6Jd5Fg1Hs0YcAeUiOqWxZvBnMlKjHgFdSaPoIuYtReWq2Z"
KEYS = [
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ghp_" + RANDOM[:36],
    "github_pat_" + RANDOM[:22] + "_" + (RANDOM * 2)[:59],
    "glpat-" + RANDOM[:20],
    "xoxb-" + "123456789012-" + RANDOM[:24],
    "sk_live_" + RANDOM[:24],
    "AIza" + RANDOM[:35],
    "npm_" + RANDOM[:36],
    "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh",
    "sk-" + RANDOM[:48],
    "sk-ant-api03-" + RANDOM[:60],
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + RANDOM[:43],
    "-----BEGIN OPENSSH PRIVATE KEY-----\n" + RANDOM * 4 + "\n-----END OPENSSH PRIVATE KEY-----",
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:8])
def test_found_as_a_whole(key):
    text = f"export KEY='{key}' # do not tell"
    assert {text[start:end] for start, end in find_keys(text)} == {key}


@pytest.mark.parametrize(
    "line", ['password = "{}"', "API_KEY: {}", "secret_token={}", "'access_key' => '{}'", "pwd:={}"]
)
def test_a_password_beside_its_name(line):
    text = line.format(RANDOM[:20])
    assert {text[start:end] for start, end in find_keys(text)} == {RANDOM[:20]}


@pytest.mark.parametrize(
    "text",
    [
        "password: see the administrator, please",
        "the token = authentication-mechanisms",
        "secret: 00000000000000000000",
        "The secretary's token of esteem: a book of 1914",
        "AKIA is a prefix; ghp_ too; sk-learn, task-oriented-dialogue-systems-of-today",
        "eyJ is how JSON begins in base64",
        "-----BEGIN PUBLIC KEY-----",
    ],
)
def test_not_found(text):
    assert list(find_keys(text)) == []


def test_entropy():
    assert entropy("aaaa") == 0
    assert entropy("abcd") == 2
    assert entropy("aabb") == 1
