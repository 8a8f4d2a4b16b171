"""What holds for all tests: a property is not false because the machine was busy."""

from hypothesis import settings

settings.register_profile("charkha", deadline=None)
settings.load_profile("charkha")
