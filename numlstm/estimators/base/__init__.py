"""What all estimators and transformers share: the base classes, and what these are made of."""
