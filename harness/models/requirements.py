"""Packages that a network's file says it needs: whether they are here, and in which version."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import InvalidRequirement, Requirement

from harness.errors import PluginError


@cache
def installed(requires: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Name and version of each package, as `timm 1.0.3`.

    Args:
        requires: what is needed, as pip is told it.
        where: the network, for messages.

    Raises:
        PluginError: a package is not installed, or not in such a version; says how to get all of them.
    """
    found, missing = [], []
    for text in requires:
        try:
            wanted = Requirement(text)
        except InvalidRequirement as error:
            raise PluginError(
                f"{where}: REQUIRES: {text!r} is no requirement: {str(error).splitlines()[0]}",
                'For example REQUIRES = ("timm>=1.0",).',
            ) from error
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        try:
            here = version(wanted.name)
        except PackageNotFoundError:
            missing.append(f"{text}, which is not installed")
            continue
        if not wanted.specifier.contains(here, prereleases=True):
            missing.append(f"{text}, and {here} is installed")
        found.append(f"{wanted.name} {here}")
    if missing:
        told = " ".join(f'"{text}"' for text in requires)
        raise PluginError(f"{where} needs {'; '.join(missing)}", f"pip install {told}")
    return tuple(found)
