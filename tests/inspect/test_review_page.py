"""The review page: what it holds, and, in a real browser, what its keys and buttons write."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from groundup.core.errors import GroundupError
from groundup.data.reading_records import read_records
from groundup.data.records import Preference
from groundup.inspect.review_page import review_html

NASTY = '</script><img src=x onerror="document.title=1"> & "quoted" \u2028 <|im_end|>'


def row(question: str, reference: str | None, **answers: str) -> dict[str, Any]:
    said = {name: {"text": text, "finish": "end"} for name, text in answers.items()}
    return {
        "messages": [{"role": "user", "content": question}],
        "tools": [],
        "reference": reference,
        "answers": said,
    }


ROWS = [row("first?", "one", before="zero", after="one"), row(NASTY, None, before=NASTY, after="fine")]


def prompts_in(page: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="answers">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])["prompts"]


def test_answers_stand_in_the_page_as_data():
    prompts = prompts_in(review_html(ROWS, "a <title>"))
    assert prompts[0]["answers"] == [{"name": "before", "text": "zero"}, {"name": "after, reference", "text": "one"}]
    assert prompts[1]["messages"][0]["content"] == NASTY
    assert "<title>a &lt;title&gt; · review</title>" in review_html(ROWS, "a <title>")
    assert "onerror" not in re.sub(r"<script.*?</script>", "", review_html(ROWS, "t"), flags=re.DOTALL)
    with pytest.raises(GroundupError, match="no answers"):
        review_html([row("q", None)], "t")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_in_a_browser_the_files_it_writes_are_preferences(tmp_path: Path):
    """Keys are pressed, buttons clicked, and what would be downloaded is read by the reader of `finetune prefer`."""
    driver = """<script>
    const press = key => document.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
    press("r"); press("j"); press("a");                      // zero rejected, one kept
    press("j"); press("c"); document.activeElement.value = "rude, <b>";
    document.activeElement.dispatchEvent(new Event("input")); document.activeElement.blur();
    press("a"); press("a"); press("r");                      // kept, taken back, rejected
    press("j"); press("j"); press("k"); press("j"); press("a");  // the last is kept
    const files = {};
    URL.createObjectURL = blob => { files[kind] = blob; return "#"; };
    let kind;
    for (kind of ["pairs", "labels"]) document.getElementById(kind).click();
    Promise.all(Object.entries(files).map(async ([name, blob]) => [name, await blob.text()])).then(all => {
      document.body.innerHTML = "";
      const out = document.createElement("pre"); out.id = "out";
      out.textContent = JSON.stringify(Object.fromEntries(all)); document.body.append(out);
    });
    </script>"""
    page = tmp_path / "review.html"
    page.write_text(review_html(ROWS, "t").replace("</body>", driver + "</body>"), encoding="utf-8")
    done = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *("--no-first-run", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--virtual-time-budget=3000", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:] + done.stderr[-500:]
    files = json.loads(html.unescape(found[1]))
    for name, text in files.items():
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")

    pairs = [
        record for record in read_records(tmp_path / "pairs.jsonl", "preference") if isinstance(record, Preference)
    ]
    said = [
        (p.prompt[0]["content"], p.chosen and p.chosen[0]["content"], p.rejected and p.rejected[0]["content"])
        for p in pairs
    ]
    assert said == [("first?", "one", "zero"), (NASTY, "fine", NASTY)]
    labels = [
        record for record in read_records(tmp_path / "labels.jsonl", "preference") if isinstance(record, Preference)
    ]
    judged = [(p.chosen is not None, (p.chosen or p.rejected or ({},))[0]["content"]) for p in labels]
    assert judged == [(False, "zero"), (True, "one"), (False, NASTY), (True, "fine")]
    comments = [json.loads(line).get("comment") for line in files["labels"].split("\n")[:-1]]
    assert comments == [None, None, "rude, <b>", None]
