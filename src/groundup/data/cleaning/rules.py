"""The rules that remove a document: one table of names, bounds and sources.

A rule is a figure of one document with the bounds it must keep. The figures are measured in `figures`, `repetition`,
`reference` and `judge`; here stands what is asked of them and who asked it first. Bounds can be changed one by one
(`thresholds`), groups of rules are switched by their name (`rules`).

Sources: Rae et al. 2021 (Gopher, arXiv:2112.11446), appendix A.1.1, with the repetition bounds of its table A1; Raffel et
al. 2020 (C4, JMLR 21:140), section 2.2; Penedo et al. 2024 (FineWeb, arXiv:2406.17557), section 3.6; Kocetkov et al.
2022 (The Stack, arXiv:2211.15533), section 3; Wenzek et al. 2020 (CCNet, arXiv:1911.00359), section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from groundup.core.errors import GroundupError, unknown_name

Bounds = tuple[float | None, float | None]

GOPHER = "Rae et al. 2021, A.1.1"
GOPHER_TABLE = "Rae et al. 2021, table A1"
C4 = "Raffel et al. 2020, section 2.2"
FINEWEB = "Penedo et al. 2024, section 3.6"
OURS = "Groundup"


@dataclass(frozen=True)
class Rule:
    """Keep a document while `low <= figure <= high`; with `strict`, a figure on the bound is out too.

    `applies` says to which text: "all", "spaced" (scripts that write blanks between words; the figure counts words or
    line lengths, which mean nothing in Japanese) or "english".
    """

    name: str
    group: str
    low: float | None
    high: float | None
    says: str
    source: str
    applies: str = "all"
    strict: bool = False

    def allows(self, figure: float) -> bool:
        if self.strict:
            return (self.low is None or figure > self.low) and (self.high is None or figure < self.high)
        return (self.low is None or figure >= self.low) and (self.high is None or figure <= self.high)


def _repetition() -> list[Rule]:
    bounds = {2: 0.20, 3: 0.18, 4: 0.16}
    duplicated = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
    group = "gopher_repetition"
    return [
        Rule("duplicate_lines", group, None, 0.30, "share of lines seen before", GOPHER_TABLE),
        Rule("duplicate_paragraphs", group, None, 0.30, "share of paragraphs seen before", GOPHER_TABLE),
        Rule("duplicate_line_characters", group, None, 0.20, "characters in lines seen before", GOPHER_TABLE),
        Rule("duplicate_paragraph_characters", group, None, 0.20, "characters in such paragraphs", GOPHER_TABLE),
        *(
            Rule(f"top_{n}_gram", group, None, high, f"characters in the commonest {n} words", GOPHER_TABLE, "spaced")
            for n, high in bounds.items()
        ),
        *(
            Rule(f"duplicate_{n}_grams", group, None, high, f"characters in repeated {n} words", GOPHER_TABLE, "spaced")
            for n, high in duplicated.items()
        ),
    ]


_TABLE = [
    Rule("characters", "length", 1, None, "characters that are not blank", OURS),
    Rule("word_count", "gopher_quality", 50, 100_000, "words", GOPHER, "spaced"),
    Rule("mean_word_length", "gopher_quality", 3, 10, "characters a word", GOPHER, "spaced"),
    Rule("hashes_per_word", "gopher_quality", None, 0.1, "# signs a word", GOPHER, "spaced"),
    Rule("ellipses_per_word", "gopher_quality", None, 0.1, "ellipses a word", GOPHER, "spaced"),
    Rule("bullet_lines", "gopher_quality", None, 0.9, "share of lines that begin with a bullet", GOPHER),
    Rule("ellipsis_lines", "gopher_quality", None, 0.3, "share of lines that end with an ellipsis", GOPHER),
    Rule("words_with_a_letter", "gopher_quality", 0.8, None, "share of words with a letter", GOPHER, "spaced"),
    Rule("stop_words", "gopher_quality", 2, None, "of the be to of and that have with", GOPHER, "english"),
    *_repetition(),
    Rule("c4_sentences", "c4", 3, None, "sentences in the lines that C4 keeps", C4),
    Rule("lorem_ipsum", "c4", None, 0, "the words lorem ipsum", C4),
    Rule("curly_brackets", "c4", None, 0, "{ signs, as program code has", C4),
    Rule("lines_with_punctuation", "fineweb", 0.12, None, "lines that end a sentence", FINEWEB, strict=True),
    Rule("repeated_line_characters", "fineweb", None, 0.1, "characters in lines seen before", FINEWEB, strict=True),
    Rule("short_lines", "fineweb", None, 0.67, "lines under 30 characters", FINEWEB, "spaced", strict=True),
    Rule("letters_and_digits", "symbols", 0.25, None, "of what is not blank", "Kocetkov et al. 2022, section 3"),
    Rule("broken_characters", "symbols", None, 0.01, "share of U+FFFD, what undecodable bytes become", OURS),
    Rule("longest_word", "symbols", None, 1000, "characters without a blank", "C4's published code", "spaced"),
    Rule("language_is", "language", 1, None, "1 where it is one of the languages asked for", OURS),
    Rule("language_score", "language", 0.65, None, "certainty of the language", "Penedo et al. 2024, section 3.3"),
    Rule(
        "perplexity",
        "perplexity",
        None,
        6,
        "deviations above the corpus's median",
        "after Wenzek et al. 2020, section 3.3",
    ),
    Rule("gibberish", "gibberish", None, 200, "characters on end the reference model cannot read", OURS),
    Rule("blocked", "block", None, 0, "of the strings named by block", OURS),
    Rule("personal_data", "privacy", None, 0, "finds of a kind whose choice is drop", OURS),
    Rule("hidden_characters", "hidden", None, 0, "hidden characters, when the choice is drop", OURS),
    Rule("contamination", "contamination", None, 0, "passages of an evaluation set", "Brown et al. 2020, appendix C"),
    Rule("exact_duplicate", "exact", None, 0, "equal to an earlier document", OURS),
    Rule("near_duplicate", "near", None, 0, "nearly equal to an earlier document", "Broder 1997; Lee et al. 2022"),
]

RULES: Mapping[str, Rule] = {rule.name: rule for rule in _TABLE}

# Groups whose figures take other documents, or an evaluation set, to measure.
COMPARED = frozenset(("contamination", "exact", "near"))

# What changes a document and never removes it.
EDITS: Mapping[str, str] = {
    "repair": "mojibake, NFC, control characters",
    "hidden": "hidden Unicode taken out",
    "privacy": "personal data and keys masked",
    "boilerplate": "lines that stand in many documents taken out",
    "c4_lines": "lines C4 would not keep taken out: no end of sentence, under five words, JavaScript, policy notices",
    "substrings": "long passages that stand earlier in the corpus taken out",
}

# Names that stand for several groups.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "gopher": ("gopher_quality", "gopher_repetition"),
    "c4": ("c4_lines", "c4"),
    "duplicates": ("exact", "near"),
}

GROUPS = tuple(dict.fromkeys([*EDITS, *(rule.group for rule in _TABLE)]))

# What `clean` does unless told otherwise: nothing that could cost an honest document, short, verse, code or table.
DEFAULT = ("repair", "hidden", "privacy", "length", "exact")


def groups_of(names: tuple[str, ...]) -> frozenset[str]:
    """The groups that a person's `names` stand for. Raises `GroundupError` for a name that is none."""
    known = {*GROUPS, *FAMILIES, "default", "all", "none"}
    chosen: set[str] = set()
    for name in names:
        if name not in known:
            raise unknown_name("rule", name, known)
        if name == "default":
            chosen.update(DEFAULT)
        elif name == "all":
            chosen.update(GROUPS)
        elif name != "none":
            chosen.update(FAMILIES.get(name, (name,)))
    return frozenset(chosen)


def with_bounds(thresholds: Mapping[str, Bounds]) -> dict[str, Rule]:
    """The table with some bounds changed. Raises `GroundupError` for a rule that is not in it, and for low over high."""
    table = dict(RULES)
    for name, (low, high) in thresholds.items():
        if name not in table:
            raise unknown_name("rule", name, table)
        if low is not None and high is not None and low > high:
            raise GroundupError(f"the bounds of {name} are {low:g} to {high:g}; the first must be the lower one")
        old = table[name]
        table[name] = Rule(name, old.group, low, high, old.says, old.source, old.applies, old.strict)
    return table
