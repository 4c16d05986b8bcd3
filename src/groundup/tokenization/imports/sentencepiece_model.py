"""A SentencePiece model as a `tokenizer.json` that gives the same ids (Kudo and Richardson 2018, arXiv:1808.06226).

What SentencePiece does in one program becomes a chain of steps: the space before a text (dummy prefix), the table of
characters (`charsmap.py`), white space, `▁` for a space, then the model.

Byte pairs: SentencePiece joins the two neighbours whose joint piece has the best score, the leftmost first where scores are
equal; `tokenizers` goes by a list of pairs. The list is every way to part a piece into two, in the order of the piece's
score. Equal scores are common for runs of one character (Llama 2 gives all its runs of spaces -1e9): there the longest
comes first, so that a run grows from the left as it does in SentencePiece.

Unigram: the score of a segmentation is the sum of its pieces', and the best one wins. SentencePiece adds in 32 bits from
the beginning of the text, `tokenizers` in 64 bits from the beginning of a word, so where two segmentations are equal up to
rounding (2^-24 of the sum so far) they may choose differently. For these, and for byte pairs with other ties, the settings say
that the ids are from the model file (`tokenization/sentencepiece_ids.py`); the `tokenizer.json` is for other programs.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from groundup.core.errors import GroundupError
from groundup.core.progress import QUIET, Reporter
from groundup.tokenization.folder import IDS_FROM, MODEL_FILE
from groundup.tokenization.guard import is_markup
from groundup.tokenization.imports.byte_level import added_token
from groundup.tokenization.imports.charsmap import charsmap_steps, normalizer_of, replace_step
from groundup.tokenization.imports.sentencepiece_file import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    SentencePieceFile,
    without_symbols,
)
from groundup.tokenization.spelling import SPACE

# With spaces put after a text instead of before it, one corner stays different: a text of nothing but spaces and characters
# that vanish has no ids here, and the id of a space there.
_END = "\ufff2"  # holds the place of a space at the end until white space is settled; unassigned, so in no text


def sentencepiece_description(
    file: SentencePieceFile, reporter: Reporter = QUIET
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The contents of `tokenizer.json` and `tokenizer_config.json` for a model file.

    Raises `GroundupError` for what cannot be expressed exactly: models of words or characters, pieces marked as unused.
    """
    if file.algorithm not in _MODELS:
        raise GroundupError(f"SentencePiece models of kind {file.algorithm!r} are not imported, only bpe and unigram")
    if not file.escape_whitespaces:
        raise GroundupError("this model keeps spaces as they are (escape_whitespaces is off), which is not imported")
    if unused := file.ids(UNUSED):
        raise GroundupError(
            f"{len(unused)} pieces of this model (such as {file.pieces[unused[0]].text!r}) are marked as unused, "
            "which no tokenizer.json can express; make a model without them"
        )
    steps = _normalizer(file)
    symbols = _symbols(file, steps)
    special = [*file.ids(UNKNOWN, CONTROL), *(id for id in file.ids(USER_DEFINED) if is_markup(file.pieces[id].text))]
    unknown = file.pieces[file.ids(UNKNOWN)[0]].text
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(id, file.pieces[id].text) for id in sorted(special)],
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": _pre_tokenizer(file, symbols),
        "post_processor": None,
        "decoder": _decoder(file),
        "model": _MODELS[file.algorithm](file, symbols),
    }
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": unknown}
    config |= {f"{role}_token": file.pieces[id].text for role, id in file.roles.items()}
    config |= {"pad_token": config.get("pad_token"), "clean_up_tokenization_spaces": False}
    if file.algorithm == "unigram" or not _is_exact(file, description["model"], reporter):
        config[IDS_FROM] = MODEL_FILE
    return description, config


def model_for_people(data: bytes, file: SentencePieceFile) -> bytes:
    """The model file to take ids from: symbols that are structure by their look are never found in a text."""
    return without_symbols(
        data, {file.pieces[id].text for id in file.ids(USER_DEFINED) if is_markup(file.pieces[id].text)}
    )


def _normalizer(file: SentencePieceFile) -> list[dict[str, Any]]:
    prefix = file.add_dummy_prefix and not file.whitespace_as_suffix
    suffix = file.add_dummy_prefix and file.whitespace_as_suffix
    steps: list[dict[str, Any]] = []
    if prefix:
        steps.append({"type": "Prepend", "prepend": SPACE})
    if suffix:
        steps.append(replace_step(r"(?<=[\s\S])\z", _END, regex=True))
    steps += charsmap_steps(file.charsmap)
    if file.remove_extra_whitespaces:
        # A `▁` that a person typed is white space only at the end of a text.
        if suffix:
            steps.append(replace_step(rf"\A +{_END}\z", "", regex=True))
        steps.append(replace_step(rf"\A{SPACE} +" if prefix else r"\A +", SPACE if prefix else "", regex=True))
        steps.append(replace_step("  +", " ", regex=True))
        steps.append(replace_step(rf"[ {SPACE}]+(?={_END}\z)" if suffix else rf"[ {SPACE}]+\z", "", regex=True))
    if suffix:
        steps.append(replace_step(_END, " "))
    return [*steps, replace_step(" ", SPACE)]


def _symbols(file: SentencePieceFile, steps: list[dict[str, Any]]) -> list[str]:
    """The pieces a person defined, which are found in any text before the model looks at it; the longest first.

    Names in brackets are structure, not text, whoever defined them.
    """
    symbols = [file.pieces[id].text for id in file.ids(USER_DEFINED) if not is_markup(file.pieces[id].text)]
    without_prefix = [step for step in steps if step["type"] != "Prepend"]
    normalize = normalizer_of(without_prefix).normalize_str
    for symbol in symbols:
        if normalize(f"x{symbol}x") != f"x{symbol}x":
            raise GroundupError(
                f"the user-defined piece {symbol!r} is changed by the model's own normaliser; SentencePiece shields it, "
                "which no tokenizer.json can express"
            )
    return sorted(symbols, key=lambda symbol: (-len(symbol), symbol))


def _pre_tokenizer(file: SentencePieceFile, symbols: list[str]) -> dict[str, Any] | None:
    """Words, where no piece reaches over the beginning of one: then they can be read one by one, and remembered."""
    steps = []
    if symbols and file.algorithm == "bpe":
        spelled = "|".join("".join(rf"\x{{{ord(character):X}}}" for character in symbol) for symbol in symbols)
        steps.append(_split(spelled))
    texts = (file.pieces[id].text for id in file.ids(NORMAL, USER_DEFINED))
    if not any(SPACE in text.lstrip(SPACE) for text in texts):
        steps.append(_split(f"{SPACE}+[^{SPACE}]*"))
    if len(steps) < 2:
        return steps[0] if steps else None
    return {"type": "Sequence", "pretokenizers": steps}


def _split(regex: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def _decoder(file: SentencePieceFile) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [replace_step(SPACE, " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
    if not file.whitespace_as_suffix and (file.add_dummy_prefix or file.remove_extra_whitespaces):
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}


def _bpe(file: SentencePieceFile, symbols: list[str]) -> dict[str, Any]:
    normal = {file.pieces[id].text: id for id in file.ids(NORMAL)}
    merges = [
        (-file.pieces[id].score, -len(text) if _is_run(text) else 0, id, text[:cut], text[cut:])
        for text, id in normal.items()
        for cut in range(1, len(text))
        if text[:cut] in normal and text[cut:] in normal
    ]
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": file.pieces[file.ids(UNKNOWN)[0]].text,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": file.byte_fallback,
        # A symbol stands alone as a word, and is then found by its whole name.
        "ignore_merges": bool(symbols),
        "vocab": {piece.text: id for id, piece in enumerate(file.pieces)},
        "merges": [[left, right] for *_, left, right in sorted(merges)],
    }


def _is_run(text: str) -> bool:
    return len(set(text)) == 1


def _is_exact(file: SentencePieceFile, model: dict[str, Any], reporter: Reporter) -> bool:
    """Whether a list of merges gives the ids of all texts; what it cannot say is told.

    Equal scores of different pieces are exact only among runs of one character.
    """
    normal = {file.pieces[id].text: file.pieces[id].score for id in file.ids(NORMAL)}
    lost = sorted({character for text in normal for character in text if character not in normal})
    if lost:
        reporter.warn(
            f"{len(lost)} characters (such as {lost[0]!r}) are in pieces but are no pieces themselves; texts that hold them "
            "may get other ids in transformers than from sentencepiece and here"
        )
    pieces: dict[float, set[str]] = defaultdict(set)
    for left, right in model["merges"]:
        pieces[normal[left + right]].add(left + right)
    tied = [text for texts in pieces.values() if len(texts) > 1 for text in sorted(texts) if not _is_run(text)]
    if tied:
        reporter.warn(
            f"{len(tied):,} pieces (such as {tied[0]!r}) share their score with others; sentencepiece joins the leftmost "
            "of them first, which a tokenizer.json cannot express: some texts may get other ids in transformers than here"
        )
    return not lost and not tied


def _unigram(file: SentencePieceFile, symbols: list[str]) -> dict[str, Any]:
    normal = {piece.text: piece.score for piece in file.pieces if piece.kind == NORMAL}
    low, high = min(normal.values()), max(normal.values())
    # Names of bytes and of structure are not for texts: their score is below that of any other way to spell them. The
    # unknown's lies below the lowest, which matters only where a character of a piece is no piece itself.
    reserved = low if any(character not in normal for text in normal for character in text) else 20 * min(low, -1.0)
    vocab = []
    for piece in file.pieces:
        if piece.kind == NORMAL:
            score = piece.score
        elif piece.text in symbols:
            score = len(piece.text.encode("utf-8")) * high - 0.1  # SentencePiece's own formula (unigram_model.cc)
        else:
            score = reserved if piece.kind in (BYTE, CONTROL, USER_DEFINED) else low
        vocab.append([piece.text, score])
    return {
        "type": "Unigram",
        "unk_id": file.ids(UNKNOWN)[0],
        "vocab": vocab,
        "byte_fallback": file.byte_fallback,
    }


_MODELS = {"bpe": _bpe, "unigram": _unigram}
