"""The formats a corpus comes in, one file a format.

One idea: a format gives either text (text, markdown, html, pdf, docx) or rows (jsonl, json, csv, tsv, parquet, arrow), a
row being its number in the file and its fields; what the fields of a row mean is `shapes`' to say.
"""
