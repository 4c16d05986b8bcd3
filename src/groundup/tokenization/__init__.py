"""Text to ids and back: one `Tokenizer`, its training, and the special tokens' names."""

from groundup.tokenization.algorithms import algorithm_names
from groundup.tokenization.special import SPECIAL_TOKENS, SpecialTokens
from groundup.tokenization.streaming import TextStream
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import train_tokenizer

__all__ = ["SPECIAL_TOKENS", "SpecialTokens", "TextStream", "Tokenizer", "algorithm_names", "train_tokenizer"]
