"""Boards as tables of text: columns, signs, figures that others reported."""
