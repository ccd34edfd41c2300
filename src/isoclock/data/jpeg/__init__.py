"""Damage in JPEG files, found by reading all of their compressed data."""
