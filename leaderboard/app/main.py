"""The app's entry: the pages, and the database they share."""

import streamlit as st

from leaderboard.app.views import all_pages

st.set_page_config(page_title="segbench leaderboard", page_icon=":material/leaderboard:", layout="wide")

first, *others = all_pages()
page = st.navigation(
    [
        st.Page(first.show, title=first.TITLE, url_path=first.URL, default=True),
        *(st.Page(other.show, title=other.TITLE, url_path=other.URL) for other in others),
    ],
    position="top",
)
page.run()
