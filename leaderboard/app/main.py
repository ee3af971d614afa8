"""The app's entry: the pages, and what stands on all of them."""

import streamlit as st

from leaderboard.app import header, state, styles
from leaderboard.app.data import answer_of, choose, read_version
from leaderboard.app.views import all_pages

st.set_page_config(page_title="segbench leaderboard", page_icon=styles.icon(), layout="wide")
styles.put()

modules = all_pages()
pages = {
    module.URL: st.Page(module.show, title=module.TITLE, url_path=module.URL, default=module is modules[0])
    for module in modules
}
page = st.navigation(list(pages.values()), position="hidden")
here = next(url for url, one in pages.items() if one.url_path == page.url_path)

st.session_state["version"] = read_version()
view = state.begin(here)
goal = state.wanted_page()
if goal is not None:
    st.switch_page(pages[goal], query_params=view.query(goal))
header.links(view, pages)
chosen = choose(view)
header.say_what_it_is(chosen)
header.say_what_runs(chosen)
st.session_state["chosen"] = chosen
board = header.board_of(view, chosen)
with chosen.line:
    header.how(board, answer_of(board, chosen.question))
    header.downloads(view, chosen)
header.facts_line(board)
state.write(here)
above = st.container()
try:
    page.run()
finally:  # a page that stops early has its remarks, too
    with above:
        state.say_unknown()
