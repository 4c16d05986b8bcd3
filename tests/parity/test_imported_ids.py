"""Imported vocabularies against the programs they come from, on the real texts beside the checkout.

By default a stretch of every text is compared, chosen by its name; the slow run compares the beginning of every text, all
of the shorter ones, and a megabyte of one letter.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import inspect
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import tiktoken
import tokenizers
import transformers
from tiktoken_ext import openai_public

from groundup.checkpoints.tokenizer_folder import open_tokenizer
from groundup.tokenization import Tokenizer
from groundup.tokenization.imports import import_tokenizer

pytestmark = pytest.mark.shared_data

Encode = Callable[[str], "np.ndarray"]

HARD = [
    *(
        "",
        " ",
        "\n",
        " " * 1000,
        "\n" * 300,
        " \n" * 300,
        "\t" * 99,
        "a" * 5000,
        "ab" * 2000,
        "é" * 999,
        "e\u0301" * 400,
        "中" * 999,
    ),
    *(
        "👩‍👩‍👧‍👦🏽" * 50,
        "\ufffd" * 50,
        "\x00\x01\x7f\x85\xa0\u2028\u2029\ufeff",
        "\U0010ffff\U000e0041",
        "1234567890" * 30,
    ),
    *(
        "<|endoftext|>",
        "</s><s>[INST]<unk>[UNK][SEP]<0x41>",
        "▁▁▁ ▁a",
        "I'M 'tis 'TWAS we'LL",
        "½Ⅷ٣३",
        "a\u0308\u0323\u0308",
    ),
]


def texts(shared_data: Path) -> Iterator[tuple[str, str]]:
    """Every text under the shared data by name, unpacked; bytes that are no UTF-8 become U+FFFD."""
    for path in sorted(shared_data.rglob("*")):
        if not path.is_file() or "tokenizers" in path.parts or path.suffix in (".bin", ".model"):
            continue
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if not name.endswith("/"):
                        yield f"{path.name}/{name}", archive.read(name).decode("utf-8", "replace")
            continue
        data = path.read_bytes()
        data = (
            gzip.decompress(data) if path.suffix == ".gz" else bz2.decompress(data) if path.suffix == ".bz2" else data
        )
        yield str(path.relative_to(shared_data)), data.decode("utf-8", "replace")


@pytest.fixture(scope="session")
def everything(shared_data) -> list[tuple[str, str]]:
    return list(texts(shared_data))


def _published_tiktoken(name: str, path: Path) -> Encode:
    """tiktoken with the pattern of its own source, and the ranks beside the checkout."""
    source = inspect.getsource(openai_public)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_public, "load_tiktoken_bpe", lambda *args, **settings: {})
        pattern = getattr(openai_public, name)()["pat_str"]
    assert name in source
    lines = (line.split() for line in path.read_bytes().splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    theirs = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={"<|never|>": 10**6})
    return lambda text: theirs.encode_to_numpy(text, disallowed_special=())


def _library(path: Path) -> Encode:
    data = path.read_bytes()
    theirs = tokenizers.Tokenizer.from_str((gzip.decompress(data) if path.suffix == ".gz" else data).decode())
    theirs.encode_special_tokens = True
    theirs.no_truncation()
    theirs.no_padding()
    return lambda text: np.array(theirs.encode(text, add_special_tokens=False).ids, dtype=np.uint32)


def _sentencepiece(path: Path) -> Encode:
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return lambda text: np.array(theirs.encode(text), dtype=np.uint32)


PAIRS: dict[str, tuple[str, Callable[[Path], Encode]]] = {
    "r50k": ("tokenizers/r50k_base.tiktoken", lambda path: _published_tiktoken("r50k_base", path)),
    "cl100k": ("tokenizers/cl100k_base.tiktoken", lambda path: _published_tiktoken("cl100k_base", path)),
    "o200k": ("tokenizers/o200k_base.tiktoken", lambda path: _published_tiktoken("o200k_base", path)),
    "llama2": ("tokenizers/llama2_spm.model", _sentencepiece),
    "mistral": ("tokenizers/mistral_v3_spm.model", _sentencepiece),
    "tok512": ("models/tok512.model", _sentencepiece),
    "bert": ("tokenizers/bert_uncased_vocab.txt", lambda path: _library(path.with_name("minilm_tokenizer.json"))),
    "gpt2": (
        "tokenizers/gpt2_encoder.json",
        lambda path: _published_tiktoken("r50k_base", path.with_name("r50k_base.tiktoken")),
    ),
    "neox": ("tokenizers/gpt_neox_20B_tokenizer.json", _library),
}


@pytest.fixture(scope="module", params=list(PAIRS))
def pair(request, shared_data, tmp_path_factory) -> tuple[str, Tokenizer, Encode, Path]:
    file, reference = PAIRS[request.param]
    out = tmp_path_factory.mktemp(request.param)
    return request.param, import_tokenizer(shared_data / file, out=out), reference(shared_data / file), out


def assert_equal_ids(ours: Tokenizer, theirs: Encode, name: str, text: str) -> None:
    found, expected = ours.encode_array(text), theirs(text)
    assert np.array_equal(found, expected), f"{name}: {text[:80]!a}"


def test_hard_texts(pair):
    name, ours, theirs, _ = pair
    for text in HARD:
        # Names of word-like entries that gpt-neox added without marking them as special are looked for by the library too.
        assert_equal_ids(ours, theirs, name, text)


def test_a_stretch_of_every_text(pair, everything):
    _, ours, theirs, _ = pair
    for name, text in everything:
        start = zlib.crc32(name.encode()) % max(1, len(text) - 400)
        assert_equal_ids(ours, theirs, name, text[start : start + 400])


@pytest.mark.slow
def test_the_beginning_of_every_text(pair, everything):
    _, ours, theirs, _ = pair
    for name, text in everything:
        assert_equal_ids(ours, theirs, name, text[:8_000])


def test_transformers_gives_the_same_ids(pair, everything):
    name, ours, _, folder = pair
    if name == "neox":
        pytest.skip("a tokenizer.json is kept as it is; the library has been compared already")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    special = [ours.token_of(id) for id in ours.special_ids]
    for text_name, text in everything[::7]:
        part = text[:500]
        if not any(token in part for token in special):
            assert theirs(part, add_special_tokens=False)["input_ids"] == ours.encode(part), text_name
    assert (theirs.eos_token_id, theirs.unk_token_id) == (ours.eos_id, ours.unk_id)


def test_names_of_special_tokens_in_text_are_text(pair):
    _, ours, _, _ = pair
    for id in sorted(ours.special_ids - {ours.unk_id})[:60]:
        name = ours.token_of(id)
        for text in (name, f"a{name}b", f" {name} "):
            assert not set(ours.encode(text)) & (ours.special_ids - {ours.unk_id}), text
        assert id in ours.encode(f"a {name} b", allow_special=True)


@pytest.mark.slow
@pytest.mark.parametrize("run", ["a", " "])
def test_a_megabyte_of_one_letter_is_encoded_soon(pair, run):
    name, ours, theirs, _ = pair
    ours.prepare()
    begun = time.process_time()
    found = ours.encode_array(run * 1_000_000)
    assert time.process_time() - begun < 20, "a few seconds; hours if every step looked at all of the text"
    if name not in ("r50k", "cl100k", "o200k", "gpt2"):  # tiktoken itself takes minutes, or gives up
        assert np.array_equal(found, theirs(run * 1_000_000))
    assert_equal_ids(ours, theirs, name, run * 20_000)


# ---- SentencePiece models trained here, on many languages at once


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def trained(request, everything, tmp_path_factory):
    """A model of 4,000 pieces with the normaliser SentencePiece takes by default."""
    path = tmp_path_factory.mktemp("trained") / f"{request.param}.model"
    lines = (line for name, text in everything if "udhr2" in name for line in text[:1500].splitlines())
    with open(path, "wb") as file:
        settings = {"vocab_size": 4000, "character_coverage": 0.99, "minloglevel": 2, "num_threads": 1}
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines, model_writer=file, model_type=request.param, **settings
        )
    return import_tokenizer(path), sentencepiece.SentencePieceProcessor(model_file=str(path))


@pytest.mark.parametrize("length", [400, pytest.param(8_000, marks=pytest.mark.slow)])
def test_models_trained_here(trained, everything, length):
    ours, theirs = trained
    for name, text in everything:
        start = zlib.crc32(name.encode()) % max(1, len(text) - length)
        part = text[start : start + length]
        assert ours.encode(part) == theirs.encode(part), name


@pytest.mark.slow
def test_whole_texts_by_models_trained_here(trained, everything):
    """Sums in 32 bits from the beginning of a text: long texts have the most ties."""
    ours, theirs = trained
    for name, text in everything:
        assert_equal_ids(ours, lambda text: np.array(theirs.encode(text), np.uint32), name, text[:1_000_000])


# ---- the texts llama.cpp tests with, and the ids it expects

# Vocabularies that are at hand for them. phi-3 is Llama 2's with names of its own behind it, qwen2 is the base of qwen3.
# Not at hand: llama-bpe and deepseek-llm (of which there are only texts and ids).
GGML = {
    "gpt-2": "gpt2_encoder.json",
    "llama-spm": "llama2_spm.model",
    "phi-3": "llama2_spm.model",
    "qwen2": "qwen3_tokenizer.json.gz",
    "bert-bge": "bert_uncased_vocab.txt",
}


def hard_texts_of_llama_cpp(folder: Path, name: str) -> list[tuple[str, list[int]]]:
    """The 46 texts with the ids expected of one vocabulary."""
    with open(folder / f"ggml-vocab-{name}.gguf.inp", encoding="utf-8", newline="") as file:
        inputs = file.read().split("\n__ggml_vocab_test__\n")[:-1]  # the last one ends the file
    lines = (folder / f"ggml-vocab-{name}.gguf.out").read_text().split("\n")
    assert len(inputs) == 46
    return [(text, [int(id) for id in line.split()]) for text, line in zip(inputs, lines, strict=False)]


@pytest.mark.parametrize("name", list(GGML))
def test_the_hard_texts_of_llama_cpp(shared_data, name):
    folder = shared_data / "tokenizers"
    ours = import_tokenizer(folder / GGML[name])
    for text, ids in hard_texts_of_llama_cpp(folder / "ggml", name):
        assert ours.encode(text) == ids, ascii(text)


@pytest.mark.parametrize("name", ["gpt-2", "llama-spm", "phi-3"])
def test_the_hard_texts_with_the_vocabulary_of_a_gguf_file(shared_data, name):
    folder = shared_data / "tokenizers" / "ggml"
    ours = open_tokenizer(str(folder / f"ggml-vocab-{name}.gguf"))
    for text, ids in hard_texts_of_llama_cpp(folder, name):
        assert ours.encode(text) == ids, ascii(text)


def test_roberta_cuts_the_hard_texts_as_gpt_2_does(shared_data):
    """Its vocabulary is GPT-2's in another order, which is not at hand: equal cuts are ids that answer one to one."""
    ours = import_tokenizer(shared_data / "tokenizers" / "gpt2_encoder.json")
    pairs = {
        pair
        for text, ids in hard_texts_of_llama_cpp(shared_data / "tokenizers" / "ggml", "roberta-bpe")
        for pair in zip(ours.encode(text), ids, strict=True)
    }
    assert len(pairs) == len({mine for mine, _ in pairs}) == len({theirs for _, theirs in pairs}) == 172
