"""The protocols of other servers, so that their clients work unchanged; all of them end at the desk."""
