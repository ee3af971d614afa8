"""Writes docs/peers.md from the cases: `python -m tests.peers`."""

from __future__ import annotations

from pathlib import Path

from tests.peers.all_cases import PEERS
from tests.peers.page import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "peers.md"

if __name__ == "__main__":
    PAGE.write_text(page(PEERS), encoding="utf-8")
    print(f"{PAGE}: {sum(len(peer.cases) for peer in PEERS)} cases")
