"""Cleaning: a report first, a filter second, and an answer to what happened to every document.

documents -> survey (what only the whole corpus can tell: repeated lines, a small model of its text) -> judge (one document
at a time, by all cores) -> duplicates and contamination (in order, by one) -> kept documents, removed ones, a report.
`inspect_corpus` stops at the report and changes nothing; `clean` writes.
"""
