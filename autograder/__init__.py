"""Exercises, the check a notebook calls, the build, and grading."""
