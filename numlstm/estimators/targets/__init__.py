"""Targets: from y to the arguments of losses, and from scores back to labels and numbers."""
