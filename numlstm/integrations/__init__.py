"""Estimators as other libraries want them; each module needs the library that it is for."""
