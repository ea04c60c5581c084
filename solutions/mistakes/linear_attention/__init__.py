"""Wrong versions of the exercises of 02_linear_attention."""
