"""Any text as LaTeX that compiles under pdflatex and prints as it reads.

Only ASCII comes out, so that neither the document's input encoding nor its fonts matter. What has no counterpart there
(Chinese, emoji) becomes a question mark; `Escaper` remembers it, so that the table can say so.
"""

from __future__ import annotations

import itertools
import re
import unicodedata

from harness.utils.text import plain_line

# What stands for a run of characters that cannot be set.
REPLACED = "?"
# Characters of a cell; the middle of a longer one is left out.
LONGEST = 100
# Characters of a long word between two places where a line may be broken.
PIECE = 12

_ASCII = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textquoteleft{}",
    '"': r"\textquotedblright{}",
    # Behind the end of a row these would be taken for its options.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
}
_SIGNS = {
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "·": r"\ensuremath{\cdot}",
    "−": r"\ensuremath{-}",
    "≤": r"\ensuremath{\leq}",
    "≥": r"\ensuremath{\geq}",
    "≠": r"\ensuremath{\neq}",
    "≈": r"\ensuremath{\approx}",
    "≁": r"\ensuremath{\not\sim}",
    "∞": r"\ensuremath{\infty}",
    "→": r"\ensuremath{\rightarrow}",
    "←": r"\ensuremath{\leftarrow}",
    "↑": r"\ensuremath{\uparrow}",
    "↓": r"\ensuremath{\downarrow}",
    "°": r"\ensuremath{^\circ}",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "§": r"\S{}",
    "¶": r"\P{}",
    "©": r"\copyright{}",
    "•": r"\textbullet{}",
    "✓": r"\ensuremath{\surd}",
    "✗": r"\ensuremath{\times}",
    "–": "--",
    "—": "---",
    "‑": "-",
    "‐": "-",
    "…": r"\ldots{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "„": ",,",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "µ": r"\ensuremath{\mu}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "å": r"\aa{}",
    "Å": r"\AA{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    "¿": r"\textquestiondown{}",
    "¡": r"\textexclamdown{}",
}
_GREEK = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "omicron", "pi", "rho", "varsigma", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
]  # fmt: skip
# Capitals that look like Latin ones have no command of their own.
_LATIN_CAPITALS = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧ", "ABEZHIKMNOPTX", strict=True))
_VARIANTS = {"ϵ": "epsilon", "ϑ": "vartheta", "ϕ": "phi", "ϖ": "varpi", "ϱ": "varrho"}
# Combining marks of Unicode and the accents of LaTeX.
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d", "\u0327": "c", "\u0331": "b",
}  # fmt: skip
# Neighbours that TeX's fonts would join into another sign.
_JOINED = re.compile(r"([?!])(?=\\textquoteleft)|(-)(?=-)|(,)(?=,)|(')(?=')")


class Escaper:
    """Escapes texts and remembers which characters it could not set."""

    def __init__(self) -> None:
        self.replaced: dict[str, str] = {}
        """The texts in which characters were replaced, as code points say them, and what became of them."""
        self.shortened: list[str] = []
        """The beginnings of the texts that were too long."""

    def text(self, text: str, limit: int | None = None) -> str:
        """A text as LaTeX: one line of ASCII without anything that means something to TeX.

        Args:
            text: anything.
            limit: characters above which the middle is left out.
        """
        return self._set(self._line(text, limit))

    def paragraph(self, text: str) -> str:
        """The same for a caption or a note, with places where TeX may break inside very long words."""
        words = self._line(text, None).split(" ")
        return " ".join(r"\allowbreak{}".join(map(self._set, _pieces(word))) for word in words)

    def _line(self, text: str, limit: int | None) -> str:
        line = " ".join(unicodedata.normalize("NFC", plain_line(text)).split())
        if limit is not None and len(line) > limit:
            self.shortened.append(line[:30])
            line = f"{line[: limit - 25]}…{line[-24:]}"
        return line

    def _set(self, line: str) -> str:
        parts, lost = [], []
        for known, run in itertools.groupby(line, lambda c: _of_character(c) is not None):
            if known:
                parts += [_of_character(c) or "" for c in run]
            else:
                lost += list(run)
                parts.append(REPLACED)
        shown = _JOINED.sub(lambda m: f"{m[0]}{{}}", "".join(parts))
        if lost:
            self.replaced.setdefault(" ".join(f"U+{ord(c):04X}" for c in dict.fromkeys(lost)), shown)
        return shown


def _pieces(word: str) -> list[str]:
    """A word, or its parts where it has more characters than TeX finds room for."""
    return [word[i : i + PIECE] for i in range(0, len(word), PIECE)] if len(word) > 2 * PIECE else [word]


def escape(text: str) -> str:
    """A text as LaTeX, as `Escaper.text` gives it."""
    return Escaper().text(text)


def comment(text: str) -> str:
    """A text as one line of a comment: ASCII, whatever it holds."""
    return f"% {plain_line(text, 2000).encode('ascii', 'replace').decode()}"


def _of_character(c: str) -> str | None:
    """One character as LaTeX; None where there is nothing for it."""
    if c in _ASCII:
        return _ASCII[c]
    if c in _SIGNS:
        return _SIGNS[c]
    if c.isascii():
        return c if c.isprintable() else None
    if (greek := _greek(c)) is not None:
        return greek
    # Whether an accent, or another form of something known: a wide letter, a raised digit, a ligature.
    parts = unicodedata.normalize("NFD", c)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in _ACCENTS:
        base = {"i": r"\i", "j": r"\j"}.get(parts[0], parts[0]) if parts[1] not in "\u0323\u0327\u0331" else parts[0]
        return f"\\{_ACCENTS[parts[1]]}{{{base}}}"
    if len(parts) == 2 and parts[1] == "\u0301" and (greek := _greek(parts[0])) is not None:
        return f"\\'{{{greek}}}" if greek.isascii() and greek.isalpha() else f"\\ensuremath{{\\acute{{{greek}}}}}"
    same = unicodedata.normalize("NFKC", c)
    if same == c or not same:
        return None
    plain = [_of_character(one) for one in same]
    if any(one is None for one in plain):
        return None
    shown = "".join(one for one in plain if one is not None)
    kind = unicodedata.decomposition(c).split(" ")[0]
    return {"<super>": f"\\textsuperscript{{{shown}}}", "<sub>": f"\\ensuremath{{_{{\\mbox{{{shown}}}}}}}"}.get(
        kind, shown
    )


def _greek(c: str) -> str | None:
    if c in _VARIANTS:
        return f"\\ensuremath{{\\{_VARIANTS[c]}}}"
    if c in _LATIN_CAPITALS:
        return _LATIN_CAPITALS[c]
    lower = c.lower()
    if not "α" <= lower <= "ω" or len(lower) != 1:
        return None
    name = _GREEK[ord(lower) - ord("α")]
    if name == "omicron":
        return "o"
    return f"\\ensuremath{{\\{name if c == lower else name.capitalize()}}}"
