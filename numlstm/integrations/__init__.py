"""Estimators with the interfaces of other libraries; each module needs its library."""
