"""How torch functions are written as operators; importing this registers them all."""

from . import convolutions, elementwise, indexing, layers, ordering, products, recurrences, reductions, shapes

__all__ = [
    "convolutions",
    "elementwise",
    "indexing",
    "layers",
    "ordering",
    "products",
    "recurrences",
    "reductions",
    "shapes",
]
