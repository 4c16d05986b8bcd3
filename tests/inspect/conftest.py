"""A tokenizer and a model small enough to look at."""

import pytest
import torch

from groundup.models.discovery import build_model
from groundup.models.sizes import config_for_size
from groundup.tokenization.training import train_tokenizer

TEXT = "The cat sat on the mat. The dog sat on the cat. A bird is not a cat, nor is a dog a bird.\n" * 20


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer([TEXT], vocab_size=290)


@pytest.fixture(scope="session")
def model(tokenizer):
    model = build_model(config_for_size("d2", tokenizer.vocab_size, context_length=32), seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:  # also those that begin at zero, so that there is something to see
                parameter.normal_(0, 0.2, generator=generator)
    return model.eval()
