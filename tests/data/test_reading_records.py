from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

import groundup as gu
from groundup.core.errors import GroundupError
from groundup.data.reading_records import read_records
from groundup.data.records import Conversation, Document, LabelledText, Preference


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


ALPACA = [{"instruction": f"Add {i}", "input": "", "output": str(i)} for i in range(5)]


def test_what_was_read_and_rejected_is_said_with_its_line(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", *ALPACA, {"instruction": "x", "input": ""}, "{oops", {"output": "y"}, "[1]")
    records = gu.read_records(path)
    assert [record.messages[-1]["content"] for record in records] == ["0", "1", "2", "3", "4"]
    assert (records.n_rows, records.n_rejected) == (9, 4)
    assert records.rejections == [
        (f"{path}:6", "no output"),
        (f"{path}:7", "not valid JSON (Expecting property name enclosed in double quotes, column 2): {oops"),
        (f"{path}:8", "no instruction"),
        (f"{path}:9", "a row is an object {...}, this is [1]"),
    ]
    assert records.summary()[:2] == [f"{path}: read as alpaca: 9 rows, 4 rejected", f"rejected: {path}:6 has no output"]
    assert len(list(records)) == 5  # a second pass counts anew
    assert records.n_rejected == 4


def test_a_bad_row_can_stop(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", *ALPACA, {"instruction": "x", "output": None})
    with pytest.raises(GroundupError, match=r"a\.jsonl:6: no output; repair it, or leave such rows out"):
        list(read_records(path, on_bad_row="stop"))


def test_nothing_but_bad_rows_is_an_error(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", *({"instruction": "x", "output": None} for _ in range(7)))
    with pytest.raises(GroundupError, match=r"read as alpaca: every row was rejected \(7\), the first at 1: no output"):
        list(read_records(path))


def test_the_first_row_that_fits_says_what_all_are(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"instruction": "x"}, *ALPACA)
    records = read_records(path)
    assert len(list(records)) == 5
    assert records.rejections == [(f"{path}:1", "no output")]


@pytest.mark.parametrize(
    ("kind", "row", "expected"),
    [
        ("labelled", {"text": "Fine.", "label": 1}, "LabelledText"),
        ("document", {"text": "Fine.", "label": 1}, "Document"),
        ("conversation", {"instruction": "a", "output": "b", "chosen": "b", "rejected": "c"}, "Conversation"),
        ("preference", {"instruction": "a", "output": "b", "chosen": "b", "rejected": "c"}, "Preference"),
        (None, {"text": "Fine.", "label": 1}, "LabelledText"),
        (None, {"text": "Fine."}, "Document"),
    ],
)
def test_a_kind_can_be_asked_for(tmp_path: Path, kind, row: dict, expected: str) -> None:
    (record,) = read_records(jsonl(tmp_path / "a.jsonl", row), kind)
    assert type(record).__name__ == expected


def test_a_kind_that_is_not_there(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", *ALPACA)
    with pytest.raises(GroundupError, match=r"a\.jsonl: its rows are conversation records, not preference"):
        list(read_records(path, "preference"))
    with pytest.raises(GroundupError, match="unknown kind of record 'conversations'; did you mean 'conversation'"):
        read_records(path, "conversations")
    jsonl(tmp_path / "b.jsonl", {"text": "x"})
    with pytest.raises(GroundupError, match=r"b\.jsonl holds Document records, the files before it Conversation"):
        list(read_records(tmp_path))


def test_fields_can_be_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"ask": "Hi", "say": "Hello", "why": "so"}, {"ask": "Hi"})
    with pytest.raises(GroundupError, match=r"rows of no shape that is known; they have 'ask', 'say', 'why'"):
        list(read_records(path))
    records = read_records(path, map={"prompt": "ask", "completion": "say+why"})
    (record,) = records
    assert isinstance(record, Conversation)
    assert [message["content"] for message in record.messages] == ["Hi", "Hello\n\nso"]
    assert records.rejections == [(f"{path}:2", "no field 'say' for completion; it has 'ask'")]
    with pytest.raises(GroundupError, match="unknown field to map 'promt'; did you mean 'prompt'"):
        read_records(path, map={"promt": "ask"})


def test_a_shape_can_be_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"instruction": "a", "output": "b", "question": "c", "answer": "d"})
    (record,) = read_records(path, format="prompt_completion")
    assert isinstance(record, Conversation)
    assert record.messages[0]["content"] == "c"
    with pytest.raises(GroundupError, match="unknown format 'alpacca'; did you mean 'alpaca'"):
        read_records(path, format="alpacca")


def test_labels_of_tables(tmp_path: Path) -> None:
    (tmp_path / "sms.tsv").write_text("Label\tSMS\nham\tHello\nspam\tWin!\n")
    (tmp_path / "sst.tsv").write_text("a fine film\t1\na bad film\t0\nfine again\t1\n")
    assert [(r.text, r.label) for r in read_records(tmp_path / "sms.tsv") if isinstance(r, LabelledText)] == [
        ("Hello", "ham"), ("Win!", "spam"),
    ]  # fmt: skip
    assert [(r.text, r.label) for r in read_records(tmp_path / "sst.tsv") if isinstance(r, LabelledText)][1] == (
        "a bad film", "0",
    )  # fmt: skip


def test_text_files_are_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one--two")
    assert [r.text for r in read_records(tmp_path, separator="--") if isinstance(r, Document)] == ["one", "two"]


def test_records_stream(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "a.jsonl", *({"prompt": "words " * 20, "chosen": "a", "rejected": f"b{i}"} for i in range(15_000))
    )
    tracemalloc.start()
    n = sum(isinstance(record, Preference) for record in read_records(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 15_000
    assert peak < 2_500_000


SHARED = {  # file -> (read as, kind, rows, rejected)
    "sft/fastchat_dummy_conversation.json": ("sharegpt", "conversation", 500, 0),
    "sft/glaive_toolcall_en_300.json": ("sharegpt", "conversation", 300, 0),
    "sft/gsm8k_train.jsonl": ("prompt_completion", "conversation", 7473, 0),
    "sft/identity_91.json": ("alpaca", "conversation", 91, 0),
    "sft/rasbt_instruction_1100.json": ("alpaca", "conversation", 1100, 0),
    "sft/stanford_alpaca_seed_175.jsonl": ("self_instruct", "conversation", 175, 0),
    "sft/v1_messages_500.jsonl": ("messages", "conversation", 500, 0),
    "preference/llamafactory_dpo_zh_300.json": ("preference", "preference", 300, 0),
    "preference/llamafactory_kto_en_300.json": ("kto", "preference", 300, 0),
    "preference/rasbt_preference_1100.json": ("preference", "preference", 1100, 6),  # six pairs of equal answers
    "classification/sms_spam.tsv": ("labelled", "labelled", 5574, 0),
    "classification/sst2_train.tsv": ("labelled", "labelled", 6920, 0),
    "classification/sst2_dev.tsv": ("labelled", "labelled", 872, 0),
    "classification/rt_polarity_pos.txt": ("text", "document", 1, 0),
    "classification/rt_polarity_neg.txt": ("text", "document", 1, 0),
    "rag/xquad.en.json": ("documents", "document", 240, 0),
    "rag/xquad.zh.json": ("documents", "document", 240, 0),
    "rag/cranfield/cran.all.1400": ("text", "document", 1, 0),
    "eval/gsm8k_test.jsonl": ("prompt_completion", "conversation", 1319, 0),
    "eval/lambada_test.jsonl": ("documents", "document", 5153, 0),
    "eval/hellaswag_val_full.txt.bz2": ("text", "document", 1, 0),
    "corpora/c4_demo_300.jsonl": ("documents", "document", 300, 0),
    "corpora/sotu_1790_2026.jsonl": ("documents", "document", 249, 0),
    "corpora/wagahaiwa_nekodearu_ja.txt": ("text", "document", 1, 0),
    "corpora/tinyshakespeare.txt": ("text", "document", 1, 0),
    "domain/german_law_18_codes.jsonl": ("documents", "document", 18, 0),
    "domain/medquad_answered.jsonl.gz": ("prompt_completion", "conversation", 16407, 0),
}


@pytest.mark.shared_data
@pytest.mark.parametrize("name", SHARED)
def test_real_files_are_what_they_are(shared_data: Path, name: str) -> None:
    records = read_records(shared_data / name)
    n = sum(1 for _ in records)
    (file,) = records.files
    assert (file.format, file.kind, file.n_rows, file.n_rejected) == SHARED[name]
    assert n == file.n_records == file.n_rows - file.n_rejected


@pytest.mark.shared_data
def test_real_tool_calls_survive(shared_data: Path) -> None:
    records = list(read_records(shared_data / "sft/glaive_toolcall_en_300.json"))
    roles = {message["role"] for record in records for message in record.messages}
    calls = [call for record in records for message in record.messages for call in message.get("tool_calls", ())]
    assert roles == {"user", "assistant", "tool"}
    assert len(calls) > 100
    assert all(isinstance(call["function"]["arguments"], dict) for call in calls)
    assert all(tool["type"] == "function" for record in records for tool in record.tools)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "asked"),
    [("eval/HumanEval.jsonl.gz", {"completion": "canonical_solution"}), ("eval/mmlu_test.jsonl.gz", None)],
)
def test_real_files_of_no_shape_say_so_and_can_be_mapped(shared_data: Path, name: str, asked) -> None:
    with pytest.raises(GroundupError, match="rows of no shape that is known"):
        list(read_records(shared_data / name))
    if asked:
        assert len(list(read_records(shared_data / name, map=asked))) == 164


@pytest.mark.shared_data
def test_real_archives(shared_data: Path) -> None:
    texts = [record.text for record in read_records(shared_data / "corpora/nltk/udhr2.zip", "document")]
    assert len(texts) == 387  # one of its 388 files is empty
    with pytest.raises(
        GroundupError, match="rows of no shape that is known; they have 'sentence_good', 'sentence_bad'"
    ):
        list(read_records(shared_data / "eval/blimp.zip"))
    pairs = read_records(
        shared_data / "eval/blimp.zip", map={"chosen": "sentence_good", "rejected": "sentence_bad", "prompt": "UID"}
    )
    assert sum(1 for _ in pairs) == 66_993
    assert pairs.n_rejected == 7  # pairs of equal sentences
    trec = read_records(shared_data / "classification/trec_qc.zip", separator="\n", encoding="latin-1")
    assert sum(1 for _ in trec) == 5952
    detected = read_records(shared_data / "classification/trec_qc.zip", separator="\n")
    assert sum(1 for _ in detected) == 5952
    assert list(detected.remarks.encodings.values()) == ["iso8859-1"]
