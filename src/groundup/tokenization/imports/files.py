"""From a file of any kind to a `Tokenizer`: what the file is, what it is read as, and whether the ids agree."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from groundup.core.errors import GroundupError, missing_extra
from groundup.core.files import readable_bytes
from groundup.core.progress import QUIET, Reporter
from groundup.tokenization.folder import IDS_FROM, model_beside, settings_beside
from groundup.tokenization.imports.sentencepiece_file import looks_like_sentencepiece, read_sentencepiece
from groundup.tokenization.imports.sentencepiece_model import model_for_people, sentencepiece_description
from groundup.tokenization.imports.tiktoken_ranks import looks_like_ranks, ranks_description
from groundup.tokenization.imports.vocabulary_files import gpt2_description, wordpiece_description
from groundup.tokenization.sentencepiece_ids import same_score
from groundup.tokenization.tokenizer import Tokenizer, check_place

IMPORTABLE = (
    "tiktoken ranks (.tiktoken), SentencePiece (.model), tokenizer.json, BERT's vocab.txt, "
    "GPT-2's encoder.json with vocab.bpe (or vocab.json with merges.txt), each also as .gz"
)

# What a file of one half of GPT-2's vocabulary is called, and the other half beside it.
_HALVES = {"encoder.json": "vocab.bpe", "vocab.json": "merges.txt"}

# Texts on which tokenizers have been known to part: spaces in runs and at the ends, accents apart from their letters, scripts
# without spaces, emoji of several characters, control characters, names of tokens and bytes as a person may type them.
HARD_TEXTS = (
    *(
        "",
        " ",
        "  ",
        "\n",
        " \n ",
        "\t\t",
        "\r\n\r\n",
        "a",
        " a",
        "a ",
        "  a  b  ",
        "\n\na",
        "x" + " " * 40 + "y",
        " " * 33,
    ),
    *("Hello, world! It's 12345 o'clock; WE'LL see.", "def f(x):\n\treturn x**2  # 3.14\n\n\n    pass\n"),
    *("naïve café", "cafe\u0301 o\u0302\u0323 か\u3099 \u1112\u1161\u11ab ﬁ ① ㎏ ſ İ ß", "straße STRASSE ǅ"),
    *(
        "吾輩は猫である。名前はまだ無い。",
        "नमस्ते दुनिया",
        "שָׁלוֹם عليكم ٣٤",
        "Привет, Ελλάδα!",
        "สวัสดีชาวโลก",
        "한국어 텍스트",
    ),
    *(
        "👩‍👩‍👧‍👦🏽 🏳️‍🌈 🇪🇺",
        "\u200b\u200f\ufeff\u00ad",
        "\x00\x01\x7f\x85\xa0\u2028",
        "\ufffd\ufffd",
        "\U0010ffff\U000e0041",
    ),
    *("a" * 300, "ab" * 150, "-" * 77, "▁ ▁a▁", "Ġ Ċ ##ing </w>", "word" * 30, "https://example.com/a?b=c&d=%20"),
)


def import_tokenizer(
    file: str | Path,
    *,
    out: str | Path | None = None,
    merges: str | Path | None = None,
    pattern: str | None = None,
    special: Sequence[str] = (),
    lowercase: bool | None = None,
    reporter: Reporter = QUIET,
) -> Tokenizer:
    """Read a vocabulary of any common kind and save it to the folder `out`, if given, as `tokenizer.json`.

    `merges` is the second of GPT-2's two files where it does not lie beside the first. `pattern` (how text is split into words)
    and `special` (names of special tokens, which take the next ids) are for tiktoken ranks that are not OpenAI's. `lowercase`
    says of a `vocab.txt` whether it is uncased; None takes what its tokens show, and says so. Raises `GroundupError` when
    the file is none of these kinds, needs something it does not have, or cannot be imported exactly.
    """
    if out is not None:
        check_place(out)
    path = Path(file)
    data = _content(path)
    expected: Callable[[str], list[int]] | None = None
    model: bytes | None = None
    program = ""
    asked = {"pattern": pattern, "special": special or None, "lowercase": lowercase, "merges": merges}
    kind = _kind(data, path)
    _refuse_without_effect(asked, kind, path)
    if kind == "tokenizer.json":
        tokenizer = _from_tokenizer_json(data, path, reporter)
    else:
        if kind == "ranks":
            description, config, expected = ranks_description(
                data, path, pattern=pattern, special=special, reporter=reporter
            )
            program = "tiktoken"
        elif kind == "sentencepiece":
            read = read_sentencepiece(data, path)
            reporter.say(
                f"read as a SentencePiece model: {read.algorithm}, {len(read.pieces):,} pieces, normaliser "
                f"{read.normalizer_name or 'none'}{', bytes for the unknown' if read.byte_fallback else ''}"
            )
            description, config = sentencepiece_description(read, reporter)
            expected, program = _sentencepiece(data), "sentencepiece"
            model = model_for_people(data, read) if IDS_FROM in config else None
        elif kind == "vocab.txt":
            description, config = wordpiece_description(data, path, lowercase=lowercase, reporter=reporter)
        else:
            vocab, merges_path = _gpt2_halves(data, path, kind, merges)
            description, config = gpt2_description(vocab, _content(merges_path), merges_path, reporter)
        tokenizer = Tokenizer(json.dumps(description, ensure_ascii=False, indent=1), config, model)
    if expected is not None:
        _compare(tokenizer, expected, path, program, reporter)
    elif model is not None:
        raise missing_extra("sentencepiece", "sentencepiece", f"the ids of {path}")
    elif program:
        reporter.say(f"the ids were not compared with {program}, which is not installed (pip install {program})")
    if out is not None:
        tokenizer.save(out)
    return tokenizer


def _content(path: Path) -> bytes:
    """The bytes of a file, unpacked when it is gzip."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise GroundupError(f"{path} {what}; give a vocabulary file: {IMPORTABLE}")
    data = path.read_bytes()
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise GroundupError(f"{path} is a damaged gzip file ({error}); get it again") from None


def _kind(data: bytes, path: Path) -> str:
    if data[:4] == b"GGUF":
        raise GroundupError(
            f"{path} is a GGUF file; rename it to end in .gguf and give it where a tokenizer is asked for"
        )
    if data.lstrip()[:1] == b"{":
        return "tokenizer.json" if isinstance(_json(data, path).get("model"), dict) else "encoder.json"
    if looks_like_sentencepiece(data):
        return "sentencepiece"
    if looks_like_ranks(data):
        return "ranks"
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        lines = []
    if len(lines) > 2 and (lines[0].startswith("#version") or all(len(line.split(" ")) == 2 for line in lines[:5])):
        return "vocab.bpe"
    if "[UNK]" in (line.rstrip("\r") for line in lines):
        return "vocab.txt"
    raise GroundupError(
        f"{path} ({readable_bytes(len(data))}) is no vocabulary that can be imported; known are {IMPORTABLE}"
    )


def _refuse_without_effect(asked: dict[str, Any], kind: str, path: Path) -> None:
    useful = {"ranks": ("pattern", "special"), "vocab.txt": ("lowercase",), "encoder.json": ("merges",)}
    useful["vocab.bpe"] = useful["encoder.json"]
    for name, value in asked.items():
        if value is not None and name not in useful.get(kind, ()):
            raise GroundupError(f"{name} has no effect on {path}, which is read as {kind}; leave it out")


def _json(data: bytes, path: Path) -> dict[str, Any]:
    try:
        return json.loads(data.decode("utf-8"))
    except ValueError as error:
        raise GroundupError(f"{path} is not valid JSON: {error}") from None


def _from_tokenizer_json(data: bytes, path: Path, reporter: Reporter) -> Tokenizer:
    try:
        beside = settings_beside(path)
        model = model_beside(path, beside)
        tokenizer = Tokenizer(data.decode("utf-8"), beside or {"tokenizer_class": "PreTrainedTokenizerFast"}, model)
    except GroundupError:
        raise
    except Exception as error:  # the library raises bare Exception
        raise GroundupError(f"{path} cannot be used as a tokenizer ({error}); get it again") from error
    n_special = len(tokenizer.special_ids)
    reporter.say(f"read as tokenizer.json: {tokenizer.algorithm}, {tokenizer.vocab_size:,} tokens, {n_special} special")
    return tokenizer


def _gpt2_halves(data: bytes, path: Path, kind: str, merges: str | Path | None) -> tuple[dict[str, int], Path]:
    if kind == "vocab.bpe":
        vocab_path = Path(merges) if merges else _beside(path, {value: key for key, value in _HALVES.items()})
        data, path, merges = _content(vocab_path), vocab_path, path
    vocab = _json(data, path)
    if not all(isinstance(id, int) for id in vocab.values()):
        raise GroundupError(f"{path} is neither a tokenizer.json (it has no model) nor a vocabulary of tokens and ids")
    return vocab, Path(merges) if merges else _beside(path, _HALVES)


def _beside(path: Path, names: dict[str, str]) -> Path:
    """The other half: beside this one, with the same beginning of its name."""
    name = path.name.removesuffix(".gz")
    for half, other in names.items():
        if name.endswith(half):
            stem = path.with_name(name.removesuffix(half) + other)
            for candidate in (stem, stem.with_name(stem.name + ".gz")):
                if candidate.is_file():
                    return candidate
            raise GroundupError(
                f"{path} is one half of a vocabulary; the other, {stem}, is missing (--merges names it)"
            )
    others = " or ".join(names.values())
    raise GroundupError(f"{path} is one half of a vocabulary; name the other ({others}) with --merges")


def _sentencepiece(data: bytes) -> Callable[[str], list[int]] | None:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        return None
    return SentencePieceProcessor(model_proto=data).encode


def _compare(
    tokenizer: Tokenizer, expected: Callable[[str], list[int]], path: Path, program: str, reporter: Reporter
) -> None:
    """Refuse an import whose ids differ from those of the program the vocabulary is for."""
    for text in HARD_TEXTS:
        found, theirs = tokenizer.encode(text), expected(text)
        if found != theirs:
            raise GroundupError(
                f"{path} cannot be imported exactly: {text[:40]!a} has ids {theirs[:12]} in {program} but {found[:12]} "
                "here; please report this file"
            )
    n_characters = sum(map(len, HARD_TEXTS))
    reporter.say(f"ids equal {program}'s on {len(HARD_TEXTS)} hard texts ({n_characters:,} characters)")
    if tokenizer.sentencepiece_model is not None:
        _compare_without_model(tokenizer, expected, path, reporter)


def _compare_without_model(
    tokenizer: Tokenizer, expected: Callable[[str], list[int]], path: Path, reporter: Reporter
) -> None:
    """What other programs make of the `tokenizer.json` alone: of ways to cut a text that are equally likely, any."""
    reporter.say(
        "ids here are from the model file, which stays beside tokenizer.json, by the sentencepiece library; programs that "
        "read tokenizer.json alone may cut a text otherwise where two ways are equally likely (a few pieces in 100,000)"
    )
    alone = Tokenizer(tokenizer.to_json(), {key: value for key, value in tokenizer.config.items() if key != IDS_FROM})
    model = tokenizer.description["model"]
    for text in HARD_TEXTS if model["type"] == "Unigram" else ():
        found, theirs = alone.encode(text), expected(text)
        if found != theirs and not same_score(model, found, theirs):
            raise GroundupError(
                f"{path} cannot be written as a tokenizer.json: {text[:40]!a} has ids {theirs[:12]} in sentencepiece but "
                f"{found[:12]} there; please report this file"
            )
