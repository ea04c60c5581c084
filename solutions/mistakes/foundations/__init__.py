"""Wrong versions of the exercises of 00_foundations."""
