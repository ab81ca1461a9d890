"""What each command does: `run` of the module of its name."""
