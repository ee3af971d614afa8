"""The machine room: suites, data, networks, training, scoring and the results database."""

__version__ = "0.1.0"
