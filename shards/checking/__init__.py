"""Checking a set, its summary and contact sheet."""
