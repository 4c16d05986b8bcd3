"""Writing with a model: sampling, stop strings, the one engine, scoring, and the text in and out of them."""
