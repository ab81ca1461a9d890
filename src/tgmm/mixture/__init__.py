"""The fitted mixture: a frozen object, and what can be asked of it."""
