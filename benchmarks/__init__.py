"""Measurements: ratios, side by side in one run. Nothing here is run by the tests."""
