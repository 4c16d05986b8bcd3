"""Keys and tokens: what opens somebody's door when it stands in a text.

The one idea: issuers give their keys a prefix so that they can be found, and those prefixes are looked for as plain
strings before any pattern runs. The rest, a password beside its name, is found by the entropy of what follows the name
(Shannon 1948; 3.5 bits a character lies over English words and under random letters).

Sources of the shapes: AWS IAM "Unique identifiers"; GitHub "Behind GitHub's new authentication token formats" (2021);
the token pages of GitLab, Slack, Stripe, Google, npm, PyPI, SendGrid, Hugging Face, OpenAI, Anthropic; RFC 7519 (JWT);
RFC 7468 (private keys in PEM).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

_WORD = r"(?<![A-Za-z0-9_-])"
_SHAPES = (
    (("AKIA", "ASIA"), _WORD + r"A[KS]IA[A-Z2-7]{16}(?![A-Za-z0-9])"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), _WORD + r"gh[pousr]_[A-Za-z0-9]{36,251}"),
    (("github_pat_",), _WORD + r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    (("glpat-",), _WORD + r"glpat-[A-Za-z0-9_-]{20,64}"),
    (("xox", "xapp-"), _WORD + r"(?:xox[abeoprs]|xapp)-(?:[A-Za-z0-9]{1,64}-){1,4}[A-Za-z0-9]{8,64}"),
    (("_live_", "_test_"), _WORD + r"[srp]k_(?:live|test)_[A-Za-z0-9]{20,247}"),
    (("AIza",), _WORD + r"AIza[A-Za-z0-9_-]{35}"),
    (("npm_",), _WORD + r"npm_[A-Za-z0-9]{36}"),
    (("pypi-AgE",), _WORD + r"pypi-AgE[A-Za-z0-9_-]{50,1000}"),
    (("SG.",), _WORD + r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    (("hf_",), _WORD + r"hf_[A-Za-z]{34}(?![A-Za-z0-9])"),
    (("sk-",), _WORD + r"sk-(?:[a-z]{2,10}[0-9]{0,2}-){0,3}(?=[A-Za-z0-9_-]{0,60}[0-9])[A-Za-z0-9_-]{32,200}"),
    (("eyJ",), _WORD + r"eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{16,2000}"),
    (
        ("PRIVATE KEY-----",),
        r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:[A-Za-z0-9+/=\s,:]|-(?!----)){16,20000}-----END [A-Z ]{0,30}PRIVATE KEY-----",
    ),
)
_KEYS = tuple((marks, re.compile(shape)) for marks, shape in _SHAPES)

_NAMES = ("password", "passwd", "pwd", "secret", "token", "api_key", "apikey", "api-key", "access_key")
_VALUE = re.compile(
    r"[\w-]{0,20}[\"']?[ \t]{0,3}(?::=|=>|[:=])[ \t]{0,3}[\"']?(?P<value>[A-Za-z0-9+/=_.~!@#$%^&*-]{16,200})"
)
_FEWEST_BITS = 3.5


def find_keys(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of every key; a key may be found by two patterns, and is then given twice."""
    for marks, pattern in _KEYS:
        if any(mark in text for mark in marks):
            for match in pattern.finditer(text):
                yield match.span()
    yield from _named(text)


def _named(text: str) -> Iterator[tuple[int, int]]:
    """What stands behind the name of a secret and looks drawn by lot."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a few capital letters have a longer small one
        lowered = text
    for name in _NAMES:
        at = lowered.find(name)
        while at >= 0:
            match = _VALUE.match(text, at + len(name))
            if match:
                value = match["value"]
                if re.search(r"[0-9]", value) and re.search(r"[A-Za-z]", value) and entropy(value) >= _FEWEST_BITS:
                    yield match.span("value")
            at = lowered.find(name, at + len(name))


def entropy(text: str) -> float:
    """Bits a character, by how often each stands in `text` itself."""
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)
