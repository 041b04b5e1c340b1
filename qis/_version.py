"""The version that is installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("qis-protocol")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "unknown"
