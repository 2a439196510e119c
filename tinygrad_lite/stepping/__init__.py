"""Steps of a computation, as data."""
