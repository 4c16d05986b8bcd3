"""What a row means: the shapes rows come in, one family a file, each turned into its canonical record.

One idea: a shape is recognised by the names of its fields and the types of their values, in the order of `TABLE`: what asks
for more comes first (a pair with an instruction is a preference before it is an instruction). Converting may still refuse
a row, with the reason.
"""
