"""The parts of every architecture: embeddings, positions, norms, attention, feed-forward, linear maps.

Each layer keeps its parameters in the dtype they were made in (fp32 masters while training) and computes in the dtype
of its input, so the precision of a whole model is decided in one place: where the embedding is cast.
"""
