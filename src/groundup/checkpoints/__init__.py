"""What is kept on disk: the model folder, for everyone, and the training state, for going on with a run.

Its one idea: nothing is half written, nothing read is trusted, and nothing read can run code.
"""
