"""Other people's vocabularies as one `tokenizer.json` with the same ids.

Its one idea: recognise the file by its content, write the steps it stands for, and compare. Where the program a
vocabulary comes from is installed (tiktoken always is; sentencepiece by choice) it encodes hard texts too, and an
import whose ids differ is refused.
"""

from groundup.tokenization.imports.files import IMPORTABLE, import_tokenizer

__all__ = ["IMPORTABLE", "import_tokenizer"]
