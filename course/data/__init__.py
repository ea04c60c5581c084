"""Data that notebooks load from a file."""
