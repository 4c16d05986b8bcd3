"""The formats a corpus comes in, one file a format: from the bytes of a file to the texts of its documents."""
