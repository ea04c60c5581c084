"""The solutions measured beside what a user would pick instead. See `benchmarks.harness`."""
