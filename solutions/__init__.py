"""Reference implementations, one module per notebook."""
