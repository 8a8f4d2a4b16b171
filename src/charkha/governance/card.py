"""The model card: what a version is, for whom, how good and how far, for people who did not make it."""

from charkha.bundles.manifest import Manifest


def model_card(manifest: Manifest) -> str:
    """Return the card of a version, in Markdown. It says nothing that the manifest does not hold."""
    lines = [f"# {manifest.model} {manifest.version}", "", f"For {manifest.purpose}, owned by {manifest.owner}."]
    return "\n".join(lines) + "\n"
