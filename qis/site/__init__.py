"""A site from one TOML file: keys, peers, rules and files where everybody can read them at once."""

from qis.site.doctor import examine
from qis.site.doctor_network import examine_network
from qis.site.exit_codes import ExitCode, exit_code_of
from qis.site.finding import SiteFinding
from qis.site.opening import SiteLoop, open_site
from qis.site.schema import site_schema

__all__ = [
    "ExitCode",
    "SiteFinding",
    "SiteLoop",
    "examine",
    "examine_network",
    "exit_code_of",
    "open_site",
    "site_schema",
]
