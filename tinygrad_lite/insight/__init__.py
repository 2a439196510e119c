"""What there is to see in a computation: each file answers one question about it."""
