"""Corpora as columns: Arrow arrays of tokens in, arrays of tags out (extra ``[data]``)."""
