"""Our folders in other people's tools, and their tokenizers in ours: equal ids, equal text."""

from __future__ import annotations

import base64
import gzip
import json
import pydoc_data.topics

import pytest
import tiktoken
import tokenizers
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from groundup.tokenization import Tokenizer, algorithm_names, train_tokenizer

ENGLISH = list(pydoc_data.topics.topics.values())
TEXTS = [
    "",
    "Hello , world . It 's a test ! Do n't clean up .",
    "  two  spaces\n\n\ttabs\r\nand lines \n",
    "naïve café, 東京タワー。 Привет! नमस्ते 👩‍👩‍👧‍👦 \U0001f9d1\U0001f3fd",
    "I'M sure we'LL see 1234567890 x=a[i]+=2; //\x00\x1c\u0085\u00a0",
    "<0x41> [UNK] <s> </s> ##ing ▁",
    *ENGLISH[:3],
]

# Names of special tokens are text for us and structure for the library; that is the one intended difference.
any_text = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: "<" not in text)


@pytest.fixture(scope="module", params=[*algorithm_names(), "char without bytes"])
def saved(request, tmp_path_factory):
    algorithm, *rest = request.param.split(maxsplit=1)
    tokenizer = train_tokenizer(
        ENGLISH[:20], algorithm=algorithm, vocab_size=700, byte_fallback=False if rest else None
    )
    folder = tmp_path_factory.mktemp(algorithm)
    tokenizer.save(folder)
    return tokenizer, folder


@pytest.mark.parametrize("model_type", [None, "qwen3", "gpt2"])
def test_transformers_opens_our_folder(saved, model_type):
    ours, folder = saved
    # In a model folder AutoTokenizer also sees the architecture, and must not prefer that family's own splitting.
    config = folder / "config.json"
    config.unlink(missing_ok=True)
    if model_type:
        config.write_text(json.dumps({"model_type": model_type}))
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        ids = theirs(text)["input_ids"]
        assert ids == ours.encode(text, allow_special="[UNK]" in text)
        assert theirs.decode(ids) == ours.decode(ids)
    assert len(theirs) == ours.vocab_size
    assert (theirs.eos_token_id, theirs.bos_token_id) == (ours.eos_id, ours.bos_id)
    assert (theirs.pad_token_id, theirs.unk_token_id) == (ours.pad_id, ours.unk_id)
    assert set(theirs.all_special_ids) == ours.special_ids
    if ours.algorithm in ("word", "wordpiece"):
        names = "[UNK] word" if ours.algorithm == "word" else "[CLS] word [SEP][MASK]"
        assert theirs(names)["input_ids"] == ours.encode(names, allow_special=True)
        return
    chat = "<|im_start|>user\nhi<|im_end|><|endoftext|>"
    assert theirs(chat)["input_ids"] == ours.encode(chat, allow_special=True)
    assert theirs.decode(theirs(chat)["input_ids"], skip_special_tokens=True) == "user\nhi"


def test_what_transformers_saves_again_is_the_same_tokenizer(saved, tmp_path):
    ours, folder = saved
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.sha256 == ours.sha256
    assert again.special_ids == ours.special_ids
    assert (again.eos_id, again.bos_id, again.pad_id, again.unk_id) == (
        ours.eos_id,
        ours.bos_id,
        ours.pad_id,
        ours.unk_id,
    )


@pytest.fixture(scope="module")
def gpt2(shared_data, tmp_path_factory):
    """GPT-2's published vocabulary and merges: as a folder of ours, the library's tokenizer, and tiktoken's."""
    folder = shared_data / "tokenizers"
    vocabulary = json.loads((folder / "gpt2_encoder.json").read_text(encoding="utf-8"))
    lines = (folder / "gpt2_vocab.bpe").read_text(encoding="utf-8").splitlines()
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    library = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens(["<|endoftext|>"])
    path = tmp_path_factory.mktemp("gpt2")
    library.save(str(path / "tokenizer.json"))
    ranks = {}
    for line in (folder / "r50k_base.tiktoken").read_text().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    ours = Tokenizer.load(path)
    assert ours.is_fast
    theirs = tiktoken.Encoding(
        "gpt2",
        pat_str=r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
        mergeable_ranks=ranks,
        special_tokens={"<|endoftext|>": 50256},
    )
    return ours, library, theirs


@pytest.fixture(scope="module")
def qwen3(shared_data, tmp_path_factory):
    """Qwen3's published tokenizer.json: as a folder of ours, and the library's tokenizer."""
    content = gzip.decompress((shared_data / "tokenizers" / "qwen3_tokenizer.json.gz").read_bytes())
    path = tmp_path_factory.mktemp("qwen3")
    (path / "tokenizer.json").write_bytes(content)
    ours = Tokenizer.load(path)
    assert ours.is_fast
    return ours, tokenizers.Tokenizer.from_str(content.decode())


@pytest.mark.shared_data
def test_gpt2_gives_the_librarys_ids_and_tiktokens(gpt2):
    ours, library, theirs = gpt2
    for text in [*TEXTS, "\n".join(ENGLISH)]:
        ids = ours.encode_array(text).tolist()
        assert ids == library.encode(text).ids == theirs.encode_ordinary(text)
        assert ours.decode(ids) == text
    assert (ours.vocab_size, ours.eos_id, ours.bos_id, ours.pad_id) == (50257, 50256, 50256, None)
    assert (ours.pattern, ours.special_ids) == ("gpt2", {50256})


@pytest.mark.shared_data
def test_gpt2_knows_the_ids_everybody_knows(gpt2):
    ours, _, _ = gpt2
    assert ours.encode("hello world") == [31373, 995]
    assert ours.encode("<|endoftext|>") == [27, 91, 437, 1659, 5239, 91, 29]
    assert ours.encode("<|endoftext|>", allow_special=True) == [50256]


@pytest.mark.shared_data
@settings(max_examples=200, deadline=None)
@given(text=any_text)
def test_gpt2_gives_equal_ids_for_any_text(gpt2, text):
    ours, library, _ = gpt2
    assert ours._fast(text).tolist() == library.encode(text).ids
    assert ours.token_bytes()[ours.encode(text)].sum() == len(text.encode())


@pytest.mark.shared_data
def test_qwen3_gives_the_librarys_ids(qwen3):
    ours, library = qwen3
    for text in [*TEXTS, "e\u0301 not composed", "\n".join(ENGLISH)]:
        ids = ours.encode_array(text).tolist()
        assert ids == library.encode(text).ids
        assert ours.decode(ids) == library.decode(ids)
    assert (ours.vocab_size, ours.eos_id, ours.pattern, ours.algorithm) == (151669, 151643, "qwen2", "bpe")


@pytest.mark.shared_data
@settings(max_examples=200, deadline=None)
@given(text=any_text)
def test_qwen3_gives_equal_ids_for_any_text(qwen3, text):
    ours, library = qwen3
    assert ours._fast(text).tolist() == library.encode(text).ids


@pytest.mark.shared_data
def test_qwen3s_structure_is_not_made_of_text(qwen3):
    ours, library = qwen3
    text = "<|im_start|>user\n<think>hm</think><tool_call><|im_end|>"
    assert max(ours.encode(text)) < 151643
    assert ours.decode(ours.encode(text)) == text
    assert ours.encode(text, allow_special=True) == library.encode(text).ids
