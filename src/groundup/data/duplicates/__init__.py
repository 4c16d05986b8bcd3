"""What a corpus says more than once, and what it should not say at all.

One idea: texts are compared by hashes of their parts, and the first occurrence stays. The part is the whole text
(`exact`), the set of runs of five words (`near`), any 200 characters (`substrings`), or thirteen words of an evaluation
set (`contamination`). Documents stream through once or twice; what is remembered of them is hashes, a stated number of
bytes for each. Whatever a hash suggests and a person would lose text by is looked at again before it is said.
"""
