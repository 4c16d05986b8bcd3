"""Text to ids and back: one `Tokenizer`, its training, and the special tokens' names."""

from groundup.tokenization.special import SPECIAL_TOKENS, SpecialTokens
from groundup.tokenization.streaming import TextStream
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import ALGORITHMS, train_tokenizer

__all__ = ["ALGORITHMS", "SPECIAL_TOKENS", "SpecialTokens", "TextStream", "Tokenizer", "train_tokenizer"]
