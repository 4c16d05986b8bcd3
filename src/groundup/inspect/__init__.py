"""What people rather look at than read about: tokens, windows, attention, embeddings, guesses, curves, the report.

Each view is a module with `NAME_terminal(...)`, a rich renderable for the terminal, and `NAME_html(...)`, a page that
needs no network and no other file.
"""
