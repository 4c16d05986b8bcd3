"""Which of two answers a judge prefers: a model behind any OpenAI-compatible address, asked twice.

One idea: judges favour a position, so every pair is shown in both orders, and one side wins only where both times it is preferred;
everything else is a tie (Zheng et al. 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", section 3.4, the
conservative rule). The question put to the judge is `PROMPT`, which reports show.
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from groundup.core.errors import GroundupError
from groundup.core.progress import QUIET, Reporter

KEY_VARIABLE = "GROUNDUP_JUDGE_KEY"
SECONDS_TO_ANSWER = 120.0

PROMPT = """Two assistants answered the same user. Decide which answer serves the user better: it does what was asked, is \
correct, and says no more than helps. The order in which the answers stand, their length and their style mean nothing.

[conversation]
{conversation}
[end of conversation]

[answer A]
{a}
[end of answer A]

[answer B]
{b}
[end of answer B]

Give a reason in one or two sentences. Then write a last line with one of these and nothing else:
verdict: A
verdict: B
verdict: tie"""

Verdict = Literal["first", "second", "tie"]
_VERDICT = re.compile(r"verdict:\W*(a|b|tie)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Judge:
    """A judge: the address of an OpenAI-compatible server (as `http://localhost:8000/v1`) and the model to ask there."""

    url: str
    model: str


@dataclass(frozen=True)
class Pair:
    """Two answers to one conversation (OpenAI's messages)."""

    messages: Sequence[dict[str, Any]]
    first: str
    second: str


@dataclass(frozen=True)
class Judgement:
    """What a judge made of a pair: the verdict, and what it wrote when it saw the first answer as A, then as B."""

    verdict: Verdict
    reasons: tuple[str, str]
    orders_agree: bool


def judge_pairs(judge: Judge, pairs: Sequence[Pair], *, reporter: Reporter = QUIET) -> list[Judgement]:
    """Judge every pair in both orders.

    A key in the environment variable GROUNDUP_JUDGE_KEY is sent along. Raises `GroundupError` when the address does not
    answer, or with something else than a chat completion.
    """
    found = []
    with reporter.bar("judging", len(pairs), "pairs") as bar:
        for pair in pairs:
            found.append(_judged(judge, pair))
            bar.advance()
    return found


def tally(judgements: Sequence[Judgement]) -> dict[str, int]:
    """How often each side won, how often neither did, and how many ties came of the two orders contradicting each other."""
    counts = Counter(one.verdict for one in judgements)
    contradicting = sum(not one.orders_agree for one in judgements)
    return {verdict: counts[verdict] for verdict in ("first", "second", "tie")} | {"orders disagree": contradicting}


def _judged(judge: Judge, pair: Pair) -> Judgement:
    conversation = "\n".join(f"{message['role']}: {message.get('content') or ''}" for message in pair.messages)
    texts = [
        _ask(judge, PROMPT.format(conversation=conversation, a=a, b=b))
        for a, b in ((pair.first, pair.second), (pair.second, pair.first))
    ]
    forwards, backwards = _verdict(texts[0]), _verdict(texts[1])
    mirrored = {"first": "second", "second": "first", "tie": "tie"}[backwards]
    verdict = forwards if forwards == mirrored else "tie"
    return Judgement(verdict, (texts[0], texts[1]), forwards == mirrored)


def _verdict(text: str) -> Verdict:
    """What stands in the last line of that form; a tie when the judge wrote none."""
    found = _VERDICT.findall(text)
    return {"a": "first", "b": "second"}.get(found[-1].lower(), "tie") if found else "tie"  # pyright: ignore[reportReturnType]


def _ask(judge: Judge, prompt: str) -> str:
    address = f"{judge.url.rstrip('/')}/chat/completions"
    if not address.startswith(("http://", "https://")):
        raise GroundupError(f"the judge's address is {judge.url!r}; it begins with http:// or https://")
    body = {"model": judge.model, "messages": [{"role": "user", "content": prompt}], "temperature": 0}
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(KEY_VARIABLE):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER) as answer:
            values = json.loads(answer.read())
        text = values["choices"][0]["message"]["content"]
    except urllib.error.HTTPError as error:
        said = error.read(300).decode("utf-8", "replace")
        raise GroundupError(f"the judge at {address} answers {error.code} {error.reason}: {said}") from None
    except (OSError, urllib.error.URLError) as error:
        raise GroundupError(f"the judge at {address} does not answer: {getattr(error, 'reason', error)}") from None
    except (ValueError, KeyError, IndexError, TypeError):
        raise GroundupError(f"the judge at {address} answers with something else than a chat completion") from None
    if not isinstance(text, str):
        raise GroundupError(f"the judge at {address} answers without text")
    return text
