"""Wrong versions of the exercises of 03_low_rank_attention."""
