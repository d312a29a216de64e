"""How many examples are tried: few in the suite, many with `make fuzz`."""

from hypothesis import HealthCheck, settings

QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("suite", max_examples=40, derandomize=True, **QUIET)
settings.register_profile("fuzz", max_examples=5000, **QUIET)
settings.load_profile("suite")
