"""A site from one TOML file: keys, peers, rules and files where everybody can read them at once."""

from qis.site.opening import open_site

__all__ = ["open_site"]
