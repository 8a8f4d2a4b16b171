"""The one way in which pages are made of templates: text of the data is escaped, and what is not there is an error."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def page_environment() -> Environment:
    """Return an environment of the package's templates, to which a page adds its own filters."""
    return Environment(
        loader=PackageLoader("charkha.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
