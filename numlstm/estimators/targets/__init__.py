"""From y to what losses take, and from scores back to labels and numbers."""
