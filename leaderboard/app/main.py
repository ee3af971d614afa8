"""The app's entry: the pages, and the database they share."""

import streamlit as st

from leaderboard.app import curves, gallery, ranking, runs

st.set_page_config(page_title="segbench leaderboard", page_icon=":material/leaderboard:", layout="wide")

page = st.navigation(
    [
        st.Page(ranking.show, title="Leaderboard", url_path="leaderboard", default=True),
        st.Page(gallery.show, title="Gallery", url_path="gallery"),
        st.Page(curves.show, title="Learning curves", url_path="curves"),
        st.Page(runs.show, title="Runs", url_path="runs"),
    ],
    position="top",
)
page.run()
