"""Conditions of the evaluation, and measurement under them."""
