"""Wrong versions of the exercises of 05_hardware_aware_attention."""
