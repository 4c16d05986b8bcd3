"""From files of text to the batches a model is trained on.

sources -> reading -> split -> prepare (the token store) -> windows -> order -> batches. Whatever is random in here is
a pure function of a seed, so nothing needs to be saved to go on where a run stopped.
"""
