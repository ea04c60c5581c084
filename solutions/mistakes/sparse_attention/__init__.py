"""Wrong versions of the exercises of 01_sparse_attention."""
