"""What was computed, as data."""
