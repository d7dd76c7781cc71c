"""Profiles of the property tests: `default` for every run, `thorough` for the long one (`--hypothesis-profile=thorough`)."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

CALM = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
}

settings.register_profile("default", settings(derandomize=True, **CALM))
settings.register_profile("thorough", settings(max_examples=5000, **CALM))
settings.load_profile("default")
