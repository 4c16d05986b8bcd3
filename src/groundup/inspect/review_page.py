"""A page to review answers by hand: keep, reject, comment; and take home a file of preferences.

The one idea: the page is the whole tool. It opens from a file, keeps what was decided in the browser, and its two buttons write
what `groundup finetune prefer` reads: *pairs*, every kept answer of a prompt over every rejected one, and *labels*, each judged
answer by itself (KTO). The answers stand in it as data, which the script puts on the page as text, so nothing in them is ever
obeyed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from groundup.core.errors import GroundupError
from groundup.inspect.page import escape, page

_STYLE = """<style>
.bar-top { position: sticky; top: 0; background: var(--paper); padding: .8rem 0; border-bottom: 1px solid var(--line);
  display: flex; flex-wrap: wrap; gap: .6rem 1rem; align-items: center; z-index: 1; }
button { font: inherit; font-size: .88rem; color: var(--ink); background: var(--card); border: 1px solid var(--line);
  border-radius: 6px; padding: .25rem .8rem; cursor: pointer; } button:disabled { opacity: .45; cursor: default; }
.prompt { margin: 2.6rem 0 .8rem; } .role { color: var(--soft); font-size: .8rem; margin-top: .5rem; }
.answer { border: 1px solid var(--line); border-left: 4px solid var(--line); border-radius: 8px; padding: .7rem .9rem;
  margin: .7rem 0; } .answer.here { outline: 2px solid var(--accent); outline-offset: 2px; }
.answer.kept { border-left-color: #009e73; } .answer.rejected { border-left-color: #d55e00; }
.answer .said { white-space: pre-wrap; overflow-wrap: anywhere; margin: .2rem 0 .6rem; }
.answer input { font: inherit; font-size: .88rem; color: var(--ink); background: var(--paper); width: 100%;
  border: 1px solid var(--line); border-radius: 6px; padding: .25rem .5rem; margin-top: .5rem; }
.pressed { border-color: var(--accent); font-weight: 600; } kbd { border: 1px solid var(--line); border-radius: 4px;
  padding: 0 .35em; font-size: .85em; }
</style>"""

_SCRIPT = r"""
"use strict";
const {key, prompts} = JSON.parse(document.getElementById("answers").textContent);
const list = document.getElementById("list"), cards = [];
let marks = {}, here = 0;
try { marks = JSON.parse(localStorage.getItem(key) || "{}"); } catch (_) { marks = {}; }

function element(name, classes, text, parent) {
  const made = document.createElement(name);
  made.className = classes;
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function spoken(message, parent) {
  element("div", "role", message.role, parent);
  const calls = message.tool_calls ? JSON.stringify(message.tool_calls, null, 1) : "";
  element("div", "text", [message.content, calls].filter(Boolean).join("\n"), parent);
}

prompts.forEach((prompt, p) => {
  const block = element("section", "", undefined, list);
  element("h3", "prompt", `${p + 1} of ${prompts.length}`, block);
  prompt.messages.forEach(message => spoken(message, block));
  prompt.answers.forEach((answer, a) => {
    const id = `${p}.${a}`, card = element("div", "answer", undefined, block);
    element("div", "role", answer.name, card);
    element("div", "said", answer.text || "(empty: cannot be used)", card);
    if (!answer.text) return;
    const keep = element("button", "keep", "keep", card);
    card.append(" ");
    const reject = element("button", "reject", "reject", card);
    const comment = element("input", "", undefined, card);
    comment.placeholder = "comment";
    comment.value = (marks[id] || {}).comment || "";
    const index = cards.push({id, p, a, card, keep, reject, comment}) - 1;
    keep.onclick = () => { go(index); judge(index, true); };
    reject.onclick = () => { go(index); judge(index, false); };
    comment.oninput = () => { marks[id] = {...marks[id], comment: comment.value}; changed(); };
    comment.onfocus = () => go(index);
  });
});

function judge(index, label) {
  const mark = marks[cards[index].id] || {};
  marks[cards[index].id] = {...mark, label: mark.label === label ? undefined : label};
  changed();
}

function go(index) {
  here = Math.max(0, Math.min(cards.length - 1, index));
  cards.forEach((one, n) => one.card.classList.toggle("here", n === here));
}

function changed() {
  try { localStorage.setItem(key, JSON.stringify(marks)); } catch (_) { /* a page without storage still works */ }
  let judged = 0;
  for (const {id, card, keep, reject} of cards) {
    const label = (marks[id] || {}).label;
    judged += label !== undefined;
    card.classList.toggle("kept", label === true);
    card.classList.toggle("rejected", label === false);
    keep.classList.toggle("pressed", label === true);
    reject.classList.toggle("pressed", label === false);
  }
  const pairs = rows("pairs").length, labels = rows("labels").length;
  document.getElementById("count").textContent = `${judged} of ${cards.length} answers judged`;
  for (const [name, n] of [["pairs", pairs], ["labels", labels]]) {
    document.getElementById(name).textContent = `download ${n} ${n === 1 ? name.slice(0, -1) : name}`;
    document.getElementById(name).disabled = !n;
  }
}

function rows(kind) {
  const said = text => [{role: "assistant", content: text}], found = [];
  prompts.forEach((prompt, p) => {
    const judged = prompt.answers.map((answer, a) => ({...answer, ...marks[`${p}.${a}`]}))
      .filter(answer => answer.label !== undefined && answer.text);
    const base = {prompt: prompt.messages, ...(prompt.tools.length ? {tools: prompt.tools} : {})};
    const commented = comments => comments.filter(Boolean).length ? {comment: comments.filter(Boolean).join(" | ")} : {};
    if (kind === "labels")
      judged.forEach(one => found.push({...base, completion: said(one.text), label: one.label, ...commented([one.comment])}));
    else
      for (const good of judged.filter(one => one.label)) for (const bad of judged.filter(one => !one.label))
        if (good.text !== bad.text)
          found.push({...base, chosen: said(good.text), rejected: said(bad.text), ...commented([good.comment, bad.comment])});
  });
  return found;
}

function download(kind) {
  const text = rows(kind).map(row => JSON.stringify(row) + "\n").join("");
  const link = element("a", "");
  link.href = URL.createObjectURL(new Blob([text], {type: "application/jsonl"}));
  link.download = kind === "pairs" ? "preferences.jsonl" : "labels.jsonl";
  link.click();
}

document.getElementById("pairs").onclick = () => download("pairs");
document.getElementById("labels").onclick = () => download("labels");
document.addEventListener("keydown", event => {
  if (event.target.tagName === "INPUT") {
    if (event.key === "Escape" || event.key === "Enter") event.target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || !cards.length) return;
  const step = {j: 1, ArrowDown: 1, k: -1, ArrowUp: -1}[event.key];
  if (step) go(here + step);
  else if (event.key === "a") judge(here, true);
  else if (event.key === "r") judge(here, false);
  else if (event.key === "c") cards[here].comment.focus();
  else return;
  event.preventDefault();
  cards[here].card.scrollIntoView({block: "nearest"});
});
if (cards.length) go(0);
changed();
"""


def review_html(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """The page. `rows` are those of an `answers.jsonl`: messages, tools, reference, and answers by the name of who gave them.

    Raises `GroundupError` when there is nothing to review.
    """
    prompts = [{"messages": row["messages"], "tools": row.get("tools") or [], "answers": _answers(row)} for row in rows]
    if not any(prompt["answers"] for prompt in prompts):
        raise GroundupError("there are no answers to review")
    values = json.dumps(prompts, ensure_ascii=False)
    key = f"groundup-review-{hashlib.sha256(values.encode('utf-8', 'backslashreplace')).hexdigest()[:16]}"
    # In a script element only the character < could end the data.
    data = json.dumps({"key": key, "prompts": prompts}, ensure_ascii=True).replace("<", "\\u003c")
    return page(f"{title} · review", _BODY.format(style=_STYLE, title=escape(title), data=data), _SCRIPT)


_BODY = """{style}<h1>{title}</h1>
<p class="soft">Keep the answers that are good, reject those that are not. <kbd>j</kbd> <kbd>k</kbd> next and previous answer,
<kbd>a</kbd> keep (accept), <kbd>r</kbd> reject, <kbd>c</kbd> comment, <kbd>Esc</kbd> leaves the comment. What you decide is kept in
this browser. The files are for <code>groundup finetune prefer</code>: pairs where a prompt has a kept and a rejected answer, labels
for every judged one.</p>
<div class="bar-top"><span id="count"></span><button id="pairs"></button><button id="labels"></button></div>
<div id="list"></div>
<script type="application/json" id="answers">{data}</script>"""


def _answers(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """The different answers of a row, each with the names of all who gave it; the reference last."""
    said = [(name, answer["text"]) for name, answer in row["answers"].items()]
    if row.get("reference"):
        said.append(("reference", row["reference"]))
    names: dict[str, list[str]] = {}
    for name, text in said:
        names.setdefault(text, []).append(name)
    return [{"name": ", ".join(who), "text": text} for text, who in names.items()]
