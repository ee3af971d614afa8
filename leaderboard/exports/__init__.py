"""Tables and figures that leave: LaTeX, CSV, Markdown, JSON, HTML, figures for a paper."""
