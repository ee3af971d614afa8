"""The version of the project, in a module that every room may import."""

__version__ = "0.2.0"
