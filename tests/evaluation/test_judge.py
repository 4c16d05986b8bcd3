"""A judge behind a real socket: what is asked, both orders, ties, and every way it can fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from groundup.core.errors import GroundupError
from groundup.evaluation.judge import KEY_VARIABLE, Judge, Pair, judge_pairs, tally

QUESTION = ({"role": "user", "content": "What is {2} + 2?"},)


@contextmanager
def judge_that(answers: Callable[[str], Any], seen: list[dict[str, Any]] | None = None) -> Iterator[Judge]:
    """A server whose judge says `answers(prompt)`; an int is an HTTP status, bytes are sent as they are."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if seen is not None:
                seen.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
            said = answers(body["messages"][0]["content"])
            content = (
                said
                if isinstance(said, bytes)
                else json.dumps({"choices": [{"message": {"role": "assistant", "content": said}}]}).encode()
            )
            self.send_response(said if isinstance(said, int) else 200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Judge(f"http://127.0.0.1:{server.server_port}/v1/", "judge-1")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def likes_four(prompt: str) -> str:
    first, second = (prompt.split(f"[answer {name}]")[1].split("[end of answer")[0] for name in "AB")
    if ("4" in first) == ("4" in second):
        return "Both the same.\nverdict: tie"
    return f"One is right. (Not verdict: {'B' if '4' in first else 'A'}.)\nverdict: {'A' if '4' in first else 'B'}"


def test_the_better_answer_wins_in_both_orders(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(KEY_VARIABLE, "abc")
    seen: list[dict[str, Any]] = []
    pairs = [Pair(QUESTION, "It is 4.", "It is 5."), Pair(QUESTION, "5", "4"), Pair(QUESTION, "5", "6")]
    with judge_that(likes_four, seen) as judge:
        found = judge_pairs(judge, pairs)
    assert [one.verdict for one in found] == ["first", "second", "tie"]
    assert tally(found) == {"first": 1, "second": 1, "tie": 1, "orders disagree": 0}
    assert len(seen) == 6
    assert {(one["path"], one["model"], one["key"], one["temperature"]) for one in seen} == {
        ("/v1/chat/completions", "judge-1", "Bearer abc", 0)
    }
    forwards, backwards = (one["messages"][0]["content"] for one in seen[:2])
    assert "user: What is {2} + 2?" in forwards  # braces in people's text are text
    assert forwards.index("It is 4.") < forwards.index("It is 5.")
    assert backwards.index("It is 5.") < backwards.index("It is 4.")


def test_a_judge_that_favours_a_position_decides_nothing():
    with judge_that(lambda prompt: "verdict: A") as judge:
        found = judge_pairs(judge, [Pair(QUESTION, "4", "5")])
    assert (found[0].verdict, found[0].orders_agree) == ("tie", False)
    assert tally(found)["orders disagree"] == 1


def test_a_judge_without_a_verdict_is_a_tie():
    with judge_that(lambda prompt: "Hard to say.") as judge:
        assert judge_pairs(judge, [Pair(QUESTION, "4", "5")])[0].verdict == "tie"


@pytest.mark.parametrize(
    ("answers", "message"),
    [(lambda p: 404, "404"), (lambda p: b"<html>", "something else"), (lambda p: b'{"choices": []}', "something else")],
)
def test_what_is_no_answer_is_an_error_that_names_the_address(answers: Callable[[str], Any], message: str):
    with judge_that(answers) as judge, pytest.raises(GroundupError, match=f"127.0.0.1.*{message}"):
        judge_pairs(judge, [Pair(QUESTION, "4", "5")])


def test_an_address_that_is_none_or_silent():
    with pytest.raises(GroundupError, match="begins with http"):
        judge_pairs(Judge("localhost:8000", "j"), [Pair(QUESTION, "4", "5")])
    with judge_that(likes_four) as judge:
        pass  # closed again
    with pytest.raises(GroundupError, match="does not answer"):
        judge_pairs(judge, [Pair(QUESTION, "4", "5")])
