"""What holds for all tests: a property is not false because the machine was busy."""

from hypothesis import HealthCheck, settings

settings.register_profile("charkha", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("charkha")
