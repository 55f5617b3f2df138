"""From X, static features and weights, as users pass them, to checked and scaled arrays."""
