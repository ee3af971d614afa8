"""A board as a folder of files: no server, and nothing is asked of another place."""

from leaderboard.site.export import Site, write_site

__all__ = ["Site", "write_site"]
