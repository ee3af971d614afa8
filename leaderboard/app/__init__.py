"""The Streamlit app: pages only; everything they show comes from `leaderboard`'s pure functions."""
