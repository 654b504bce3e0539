"""The two-sentence corpus of the tutorial that this project grew from."""

SENTENCES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("The", "cat", "ate", "the", "fish"), ("DET", "NN", "V", "DET", "NN")),
    (("They", "read", "that", "book"), ("NN", "V", "DET", "NN")),
)
"""(tokens, tags) of each training sentence."""

UNSEEN = (("They", "ate", "the", "fish"), ("NN", "V", "DET", "NN"))
"""A sentence of known words in a new order, and its tags: what the trained model has to get right."""
