"""Prompts of our own whose answers `constraints.py` can check: one or two constraints each, on everyday subjects.

In IFEval's form (prompt, instruction_id_list, kwargs), as a file of one's own would have them.
"""

from __future__ import annotations

from typing import Any


def _prompt(text: str, **constraints: dict[str, Any]) -> dict[str, Any]:
    names = [_NAMES[key] for key in constraints]
    return {"prompt": text, "instruction_id_list": names, "kwargs": list(constraints.values())}


_NAMES = {
    "words": "length_constraints:number_words",
    "bullets": "detectable_format:number_bullet_lists",
    "keywords": "keywords:existence",
    "forbidden": "keywords:forbidden_words",
    "lowercase": "change_case:english_lowercase",
    "capital": "change_case:english_capital",
    "json": "detectable_format:json_format",
    "end": "startend:end_checker",
    "no_comma": "punctuation:no_comma",
}

CONSTRAINT_PROMPTS: tuple[dict[str, Any], ...] = (
    _prompt("Describe the sea in fewer than 20 words.", words={"relation": "less than", "num_words": 20}),
    _prompt("Explain in at least 40 words why bread rises.", words={"relation": "at least", "num_words": 40}),
    _prompt(
        "Name three colours of the rainbow as exactly 3 bullet points, each beginning with *.",
        bullets={"num_bullets": 3},
    ),
    _prompt("List exactly 4 kitchen tools as bullet points that begin with -.", bullets={"num_bullets": 4}),
    _prompt("Write a sentence about winter that has the words snow and fire.", keywords={"keywords": ["snow", "fire"]}),
    _prompt("Describe a cat without the words cat and animal.", forbidden={"forbidden_words": ["cat", "animal"]}),
    _prompt("What is a library? Answer in lower case letters only.", lowercase={}),
    _prompt("WHAT IS A BRIDGE? Answer in capital letters only.", capital={}),
    _prompt("Give the name and the age of an invented person as JSON and nothing else.", json={}),
    _prompt("Tell me about apples and end with the words: That is all.", end={"end_phrase": "That is all."}),
    _prompt("Describe a rainy day without using any comma.", no_comma={}),
    _prompt(
        "Describe a train in lower case letters only and in fewer than 30 words.",
        lowercase={},
        words={"relation": "less than", "num_words": 30},
    ),
)
