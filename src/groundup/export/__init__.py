"""Models for other tools, and the proof that those tools see the same model."""
