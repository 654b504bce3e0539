"""Inputs that nobody meant well, by the million: ``python -m tests.fuzz.campaign``, which says how."""
