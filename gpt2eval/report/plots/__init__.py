"""Plots of results; the only modules that import matplotlib."""
