"""The course: notebooks, their widgets, and the clocks and data they use."""
