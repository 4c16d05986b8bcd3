"""How good a model is: on held-out text, loss, perplexity and bits per byte."""
