"""The names of the special tokens, in one place.

A special token marks structure (where a document ends, who speaks) and never comes from a person's text. Which names
stand for which role follows what readers of each kind of tokenizer expect:

- `bpe`, `unigram` and `char` can write any text, so they serve for generation and chat: GPT-2's `<|endoftext|>` (Radford
  et al. 2019) and the ChatML names (`<|im_start|>`), which published tools know.
- `wordpiece` has BERT's (Devlin et al. 2019, section 3 and its vocab.txt): `[CLS]` begins a text and `[SEP]` ends it.
- `word` has the textbooks' `[BOS] [EOS] [PAD] [UNK]`.

More can be asked for by name (`[MASK]` for a `word` tokenizer, a marker of one's own); they come last.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from groundup.core.errors import GroundupError

# Roles that `transformers` knows beside those every tokenizer here has, by the name that asks for them.
_BERT_ROLES = {"[SEP]": "sep_token", "[CLS]": "cls_token", "[MASK]": "mask_token"}


@dataclass(frozen=True)
class SpecialTokens:
    """Which strings stand for which role in a tokenizer we train; they take its last ids, in `names()` order.

    A document begins where the last one ended, so beginning and end of text are one token by default, as in GPT-2.
    """

    eos: str = "<|endoftext|>"
    bos: str = "<|endoftext|>"
    pad: str = "<|pad|>"
    unk: str = "<|unk|>"
    more: tuple[str, ...] = ("<|im_start|>", "<|im_end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")

    def names(self) -> list[str]:
        """Every special string once, in the order of their ids."""
        return list(dict.fromkeys((self.eos, self.bos, self.pad, self.unk, *self.more)))

    def extended(self, names: Sequence[str]) -> SpecialTokens:
        """These and `names` after them.

        Raises `GroundupError` on a name that is there already, and on one without brackets: splitters set brackets
        apart, which is what keeps a person's word from becoming it.
        """
        for i, name in enumerate(names):
            if len(name) < 3 or name[0] + name[-1] not in ("<>", "[]") or " " in name:
                raise GroundupError(f"special token {name!r} must be one word in brackets, as [MASK] or <|note|>")
            if name in self.names() or name in names[:i]:
                raise GroundupError(f"special token {name!r} is there already; these are: {' '.join(self.names())}")
        return dataclasses.replace(self, more=(*self.more, *names))

    def config(self) -> dict[str, Any]:
        """The roles as `transformers` reads them from `tokenizer_config.json`."""
        roles = {f"{role}_token": getattr(self, role) for role in ("bos", "eos", "pad", "unk")}
        roles |= {role: name for name, role in _BERT_ROLES.items() if name in self.names()}
        return roles | {"additional_special_tokens": [name for name in self.more if name not in _BERT_ROLES]}


SPECIAL_TOKENS = SpecialTokens()
BERT_TOKENS = SpecialTokens(eos="[SEP]", bos="[CLS]", pad="[PAD]", unk="[UNK]", more=("[MASK]",))
WORD_TOKENS = SpecialTokens(eos="[EOS]", bos="[BOS]", pad="[PAD]", unk="[UNK]", more=())
