"""Claims about monqbus, each a sentence that can fail."""
