"""Personal data: email addresses, telephone numbers, payment cards, bank accounts, addresses of computers, keys.

The one idea: a shape is a candidate, a checksum or a library makes it a find. So a number of sixteen digits is a card
only when Luhn's sum and an issuer's prefix agree (ISO/IEC 7812), an account when its length is its country's and
ISO 7064's sum is right (ISO 13616), a telephone number when Google's library of numbering plans says so.

Every pattern is bounded, so that a text of one letter a million times costs no more than any other.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from groundup.core.errors import GroundupError, missing_extra
from groundup.data.cleaning.keys import find_keys

EXCERPT = 240  # characters that are shown of a document
LOOKED_AT = 24_000  # characters around them in which finds are looked for: a private key fits

Find = tuple[str, int, int]  # kind, start, end

# Patterns begin with what they find, and look behind it afterwards: so the engine skips what cannot begin one.
# RFC 5321, 4.5.3.1: a local part of at most 64, a domain of at most 255; letters of any script (RFC 6531).
_EMAIL = re.compile(
    r"[\w.%+-](?<![\w.%+-].)[\w.%+-]{0,63}@[^\W_][\w-]{0,62}(?:\.[\w-]{1,63}){0,8}\.[^\W\d_]{2,24}(?![\w@])"
)
_CARD = re.compile(r"[0-9](?<![\w.,-].)(?:[ -]?[0-9]){12,18}(?![\w-]|[.,][0-9])")
_IBAN = re.compile(r"[A-Z](?<![A-Za-z0-9].)[A-Z][0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_IPV4 = re.compile(r"[0-9](?<![\w.].)[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?!\w|\.[0-9])")
_IPV6 = re.compile(r"[23](?<![\w:.].)[0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:])")
_INTERNATIONAL = re.compile(r"[+0](?<![\w+].)(?:(?<=\+)|0 ?)[1-9](?:[ ().\-/\u00a0]{0,2}[0-9]){6,14}(?!\w)")
_NATIONAL = re.compile(r"[(0-9](?<![\w+.,-].)[0-9]?(?:[ ().\-/\u00a0]{0,2}[0-9]){6,14}(?!\w|[.,][0-9])")

# Issuer prefixes and lengths (ISO/IEC 7812 registry): American Express, Diners, JCB, Visa, Mastercard, Discover, UnionPay.
_ISSUERS = re.compile(
    r"(?:3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}|4\d{12}(?:\d{3})?(?:\d{3})?|5[1-5]\d{14}"
    r"|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|6(?:011|5\d\d|4[4-9]\d)\d{12}|62\d{14,17})$"
)

# Length of an account number by country (SWIFT, IBAN registry).
_COUNTRIES = {
    15: "NO", 16: "BE", 18: "DK FI FO GL NL", 19: "MK SI", 20: "AT BA EE KZ LT LU XK", 21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS", 23: "AE GI IL IQ TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "PT ST",
    26: "IS TR", 27: "FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB PL SV", 29: "BR EG PS QA UA",
    30: "JO KW MU", 31: "MT SC",
}  # fmt: skip
_IBAN_LENGTHS = {country: length for length, countries in _COUNTRIES.items() for country in countries.split()}


def finder(phone_regions: Sequence[str] = ()) -> Callable[[str], list[Find]]:
    """A function from a text to its finds, in the order of places and without overlap.

    Telephone numbers are looked for in international form (+49 ...), and in the national form of `phone_regions`.
    """
    try:
        import phonenumbers
    except ImportError:
        raise missing_extra("phonenumbers", "clean", "finding telephone numbers") from None
    for region in phone_regions:
        if region not in phonenumbers.SUPPORTED_REGIONS:
            raise GroundupError(f"unknown country {region!r}; write its two letters of ISO 3166, as in GB, DE or US")
    places: list[tuple[re.Pattern[str], str | None]] = [(_INTERNATIONAL, None)]
    places += [(_NATIONAL, region) for region in phone_regions]

    def phones(text: str) -> Iterator[tuple[int, int]]:
        for pattern, region in places:
            if region is None and "+" not in text and "00" not in text:
                continue
            for match in pattern.finditer(text):
                shown = match.group()
                # Two noughts dial abroad in most of the world (ITU-T E.123).
                shown = "+" + shown[2:] if region is None and shown.startswith("00") else shown
                try:
                    number = phonenumbers.parse(shown, region)
                except phonenumbers.NumberParseException:
                    continue
                if phonenumbers.is_valid_number(number):
                    yield match.span()

    def find(text: str) -> list[Find]:
        finds: list[Find] = []
        for kind, spans in (
            ("key", find_keys(text)),
            ("email", (match.span() for match in _EMAIL.finditer(text)) if "@" in text else ()),
            ("iban", _checked(_IBAN, text, is_iban)),
            ("card", _checked(_CARD, text, is_card)),
            ("ip", _addresses(text)),
            ("phone", phones(text)),
        ):
            finds += [(kind, *span) for span in spans]
        return _without_overlap(finds)

    return find


def mask(text: str, finds: Iterable[Find]) -> str:
    """`text` with `<email>` where an address stood, and so for every kind."""
    parts, at = [], 0
    for kind, start, end in finds:
        parts += [text[at:start], f"<{kind}>"]
        at = end
    return "".join((*parts, text[at:]))


def excerpt(text: str, find: Callable[[str], list[Find]], start: int = 0) -> str:
    """What is shown of `text`, from shortly before `start` on: every find masked, whatever is done to the text itself."""
    first = max(0, start - EXCERPT // 4)
    base = max(0, first - LOOKED_AT)
    region = text[base : first + LOOKED_AT]
    skipped = first - base
    finds = find(region)
    # Of a find that lies across the beginning nothing is shown.
    skipped = max((end for _, begin, end in finds if begin < skipped < end), default=skipped)
    shifted = [(kind, begin - skipped, end - skipped) for kind, begin, end in finds if begin >= skipped]
    return mask(region[skipped:], shifted)[:EXCERPT]


def is_card(shown: str) -> bool:
    """Whether digits (blanks and hyphens between them) are a payment card: an issuer's prefix, and Luhn's sum."""
    digits = re.sub(r"[ -]", "", shown)
    if not _ISSUERS.match(digits):
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def is_iban(shown: str) -> bool:
    """Whether `shown` has the length of its country's account numbers and the sum of ISO 7064, MOD 97-10."""
    account = shown.replace(" ", "")
    if _IBAN_LENGTHS.get(account[:2]) != len(account):
        return False
    return int("".join(str(int(c, 36)) for c in account[4:] + account[:4])) % 97 == 1


def _checked(pattern: re.Pattern[str], text: str, check: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    return (match.span() for match in pattern.finditer(text) if check(match.group()))


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    """Addresses that anyone can reach; those of home networks and of examples are nobody's."""
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            try:
                if ipaddress.ip_address(match.group()).is_global:
                    yield match.span()
            except ValueError:
                continue


def _without_overlap(finds: list[Find]) -> list[Find]:
    """Of two finds that overlap, the one whose kind was looked for first."""
    kept: list[Find] = []
    for find in finds:
        if not any(start < find[2] and find[1] < end for _, start, end in kept):
            kept.append(find)
    return sorted(kept, key=lambda find: find[1])
