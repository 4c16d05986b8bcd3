"""Ids by SentencePiece's own library: equal to the last tie, the same on every machine or none."""

from __future__ import annotations

import io
import json
import pydoc_data.topics
import sys

import numpy as np
import pytest
import sentencepiece

from groundup.checkpoints.tokenizer_folder import open_tokenizer
from groundup.core.errors import GroundupError
from groundup.tokenization import Tokenizer
from groundup.tokenization.extension import extend_tokenizer
from groundup.tokenization.imports import import_tokenizer
from groundup.tokenization.sentencepiece_ids import same_score
from groundup.tokenization.spans import spans

TEXT = [line for topic in pydoc_data.topics.topics.values() for line in topic.splitlines() if line.strip()]


def train(**options) -> bytes:
    model = io.BytesIO()
    settings = {"model_type": "unigram", "vocab_size": 600, "minloglevel": 2, "num_threads": 1} | options
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(TEXT[:1500]), model_writer=model, **settings)
    return model.getvalue()


@pytest.fixture(scope="module")
def model() -> bytes:
    return train(byte_fallback=True, user_defined_symbols=["::", "[SEP]"])


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("unigram")
    (path / "some.model").write_bytes(model)
    import_tokenizer(path / "some.model", out=path / "tok")
    return path / "tok"


@pytest.fixture
def ours(folder) -> Tokenizer:
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def theirs(model) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=model)


def alone(folder) -> Tokenizer:
    """The `tokenizer.json` as other programs read it."""
    return Tokenizer((folder / "tokenizer.json").read_text(), {})


def test_ids_are_those_of_the_library_where_those_of_a_tokenizer_json_are_not(folder, ours, theirs):
    text = "\n".join(TEXT)
    expected = theirs.encode(text)
    assert ours.encode(text) == expected
    without = alone(folder).encode(text)
    assert without != expected, "this text has no tie: the test shows nothing"
    assert same_score(ours.description["model"], without, expected)
    assert not same_score(ours.description["model"], [*without[:5], 300], expected[:5])
    assert ours.library == "sentencepiece"
    assert ours.decode(expected) == theirs.decode(expected)


def test_every_way_to_encode_gives_the_same(ours, theirs):
    texts = ["", "x", "naïve 東京", *TEXT[:300], "\n".join(TEXT)]
    expected = [theirs.encode(text) for text in texts]
    assert [ours.encode(text) for text in texts] == expected
    for n_threads in (1, 2):
        assert [ids.tolist() for ids in ours.encode_many(texts, n_threads)] == expected
    assert ours.safe_cut(texts[-1], 500) == 0
    assert list(ours.slices(texts[-1], 500)) == [texts[-1]]


def test_saved_and_opened_again_by_every_door(ours, theirs, tmp_path, folder):
    ours.save(tmp_path / "again")
    text = "\n".join(TEXT)
    for opened in (
        Tokenizer.load(tmp_path / "again"),
        open_tokenizer(tmp_path / "again"),
        import_tokenizer(tmp_path / "again" / "tokenizer.json", out=tmp_path / "third"),
        Tokenizer.load(tmp_path / "third"),
    ):
        assert opened.encode(text) == theirs.encode(text)
        assert opened.sha256 == ours.sha256 != alone(folder).sha256


def test_the_vocabulary_alone_with_the_settings_of_its_folder(model, theirs, tmp_path):
    """As published folders without `tokenizer.json` have it: T5's names its extra ids in tokenizer_config.json."""
    (tmp_path / "spiece.model").write_bytes(model)
    extra = {"600": {"content": "<extra_id_0>", "lstrip": True}, "601": {"content": "colour", "special": False}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": extra}))
    ours = open_tokenizer(tmp_path)
    text = "a colour, <extra_id_0>  and <unk> 東 colour"
    ids = ours.encode(text, allow_special=True)
    parts = ["a ", 601, ",", 600, "  and ", 0, " 東 ", 601]
    assert ids == [id for part in parts for id in ([part] if isinstance(part, int) else theirs.encode(part))]
    plain = ours.encode(text)
    assert plain.count(601) == 2
    assert 600 not in plain
    assert [ids.tolist() for ids in ours.encode_many([text, "b"], 1)] == [plain, ours.encode("b")]


def test_names_of_special_tokens_in_text_are_text(ours, theirs):
    for name in ("</s>", "<s>", "<unk>", "[SEP]", "<0x41>"):
        text = f"a {name} b{name}"
        found = set(ours.encode(text))
        assert ours.id_of(name) not in found or name == "<0x41>", text
        assert not found & ours.special_ids
        if name != "<0x41>":
            assert ours.encode(text, allow_special=True).count(ours.id_of(name)) == 2
    # A symbol that is a word stays one, with SentencePiece's own bonus.
    assert ours.encode("a::b") == theirs.encode("a::b")
    assert ours.id_of("::") in ours.encode("a::b")


def test_places_cover_the_text(ours):
    text = "the value  of 東京 is a::b"
    found = spans(ours, text)
    assert [span.id for span in found] == ours.encode(text)
    assert [span.start for span in found] == sorted(span.start for span in found)
    assert {i for span in found for i in range(span.start, span.end)} == set(range(len(text)))
    tokyo = [text[span.start : span.end] for span in found if span.start in (14, 15)]
    assert tokyo == ["東"] * 3 + ["京"] * 3


def test_streams_give_what_decode_gives(ours):
    ids = ours.encode("the value  of 東京 is naïve")
    stream = ours.stream()
    parts = [stream.push(id) for id in ids]
    assert "".join([*parts, stream.flush()]) == ours.decode(ids) == "the value of 東京 is naïve"


def test_without_the_library_there_are_no_ids(ours, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    assert ours.decode([300, 301])
    for encode in (ours.encode, ours.encode_array, lambda text: list(ours.encode_many([text]))):
        with pytest.raises(
            GroundupError, match=r"encoding by this tokenizer needs sentencepiece.*groundup\[sentencepiece"
        ):
            encode("some text")
    with pytest.raises(GroundupError, match=r"the ids of .*some\.model needs sentencepiece"):
        import_tokenizer(folder.parent / "some.model")


def test_files_of_different_tokenizers_are_refused(folder, ours, tmp_path):
    other = train(vocab_size=590, byte_fallback=True)
    mixed = Tokenizer(ours.to_json(), ours.config, other)
    with pytest.raises(
        GroundupError, match=r"are not of one tokenizer: id 3 is '<0x00>' in the first, and that is 5 in"
    ):
        mixed.encode("x")
    with pytest.raises(GroundupError, match="no SentencePiece model"):
        Tokenizer(ours.to_json(), ours.config, b"nothing").encode("x")
    with pytest.raises(GroundupError, match="takes a sentencepiece_model, and no other does"):
        Tokenizer(ours.to_json(), ours.config)
    description = json.loads(ours.to_json())
    for entry in description["model"]["vocab"]:
        entry[1] = -(float(len(entry[0])) ** 2)
    with pytest.raises(GroundupError, match="that are not equally likely"):
        Tokenizer(json.dumps(description), ours.config, ours.sentencepiece_model).encode("x")


def test_byte_pairs_with_ties_are_asked_of_the_library_too(tmp_path):
    """A list of merges knows no ties; the import says so, and its ids are right all the same."""
    from groundup.tokenization.imports.sentencepiece_file import _message

    file = _message("Model")()
    file.ParseFromString(train(model_type="bpe", vocab_size=500))
    for piece in file.pieces:
        if piece.type == 1 and len(piece.piece) > 1:
            piece.score = -float(len(piece.piece))
    (tmp_path / "tied.model").write_bytes(file.SerializeToString())
    ours = import_tokenizer(tmp_path / "tied.model", out=tmp_path / "tok")
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tied.model"))
    text = "\n".join(TEXT[:500])
    assert np.array_equal(ours.encode_array(text), theirs.encode(text))
    assert alone(tmp_path / "tok").encode(text) != theirs.encode(text)
    with pytest.raises(GroundupError, match="to which nothing can be added"):
        extend_tokenizer(ours, [text], 5)
