"""Figures and widgets that show the reader's own functions at work, one module per notebook."""
