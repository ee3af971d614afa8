"""Databases that nobody can train for a test: hostile texts everywhere, and two hundred models."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np

# What a text of a database could try in a page. Each asks this host, which counts, for something.
HOST = "http://tracker.invalid"
HOSTILE = (
    f"![i]({HOST}/md.png) [l]({HOST}/link) <img src={HOST}/img.png onerror=alert(1)> {HOST}/bare www.tracker.invalid "
    f"<script>alert(1)</script></script><style>body{{display:none}}</style> $\\href{{{HOST}/tex}}{{x}}$ "
    f":material/home: :red[red] <a href='{HOST}/a'>a</a> **bold** `code` a@tracker.invalid \"'><svg onload=alert(1)> "
    "</td></table>"
)


def hostile_database(source: Path, folder: Path) -> Path:
    """A copy of a real database in which every text that is shown tries to act.

    Args:
        source: a database with scores of images, curves and a gallery.
        folder: an empty folder.
    """
    place = Path(shutil.copy(source, folder / "hostile.db"))
    connection = sqlite3.connect(place)
    run = connection.execute
    classes = json.loads(run("SELECT classes FROM datasets").fetchone()[0])
    named = json.dumps([f"{n} {HOSTILE}" for n in range(len(classes))])
    run("UPDATE datasets SET title = ?, variant = ?, classes = ?", (HOSTILE, HOSTILE, named))
    run("UPDATE runs SET model = substr(model, 1, 3) || ?, model_name = ?, model_origin = ?", (HOSTILE,) * 3)
    run("UPDATE runs SET recipe = ?, model_params = ?", (HOSTILE, json.dumps({HOSTILE: HOSTILE})))
    run("UPDATE runs SET config = json_set(config, '$.recipe.note', ?)", (HOSTILE,))
    run("UPDATE runs SET provenance = ?", (json.dumps(_made(HOSTILE)),))
    run("UPDATE runs SET history = ?", (json.dumps([{"attempt": 1, "state": HOSTILE, "reason": HOSTILE}]),))
    run("UPDATE suite_entries SET suite = ?", (HOSTILE,))
    run("UPDATE evaluations SET protocol_name = ?, protocol = json_set(protocol, '$.name', ?)", (HOSTILE, HOSTILE))
    run("UPDATE curves SET name = 'train_' || ? WHERE name = 'train_loss'", (HOSTILE[:50],))
    first = run("SELECT min(id) FROM runs").fetchone()[0]
    run(
        "UPDATE runs SET state = 'failed', reason = ?, error = ?, traceback = ? WHERE id = ?",
        (HOSTILE, HOSTILE, HOSTILE * 3, first),
    )
    run("DELETE FROM scores WHERE evaluation_id IN (SELECT id FROM evaluations WHERE run_id = ?)", (first,))
    run("DELETE FROM evaluations WHERE run_id = ?", (first,))
    run("UPDATE gallery_images SET image_id = ? || image_id", ("![g](" + HOST + "/g.png) ",))
    run("UPDATE gallery_predictions SET image_id = ? || image_id", ("![g](" + HOST + "/g.png) ",))
    connection.commit()
    connection.close()
    return place


def _made(text: str) -> dict[str, object]:
    """What a run says of its making, with a text everywhere."""
    return {
        "code": {"version": text, "commit": text, "dirty": True},
        "packages": {"torch": text},
        "hardware": {"processor": text, "cores": 2, "gpus": [text], "platform": text},
        "pretrained_on": [text],
    }


def large_database(source: Path, folder: Path, models: int = 200, seeds: int = 3) -> Path:
    """A database of many models, made of the runs of a real one.

    Args:
        source: a database with one board.
        folder: an empty folder.
        models: so many.
        seeds: of each.
    """
    place = Path(shutil.copy(source, folder / "large.db"))
    connection = sqlite3.connect(place)
    run = connection.execute
    suite = run("SELECT suite FROM suite_entries").fetchone()[0]
    template = run("SELECT run_id FROM evaluations WHERE split = 'test' ORDER BY id").fetchone()[0]
    columns = [row[1] for row in run("PRAGMA table_info(runs)") if row[1] != "id"]
    stored = run(f"SELECT {', '.join(columns)} FROM runs WHERE id = ?", (template,)).fetchone()
    kept = dict(zip(columns, stored, strict=True))
    own = run("SELECT id, split FROM evaluations WHERE run_id = ?", (template,)).fetchall()
    fields = [row[1] for row in run("PRAGMA table_info(evaluations)") if row[1] not in ("id", "run_id")]
    for table in ("scores", "image_scores", "curves", "gallery_predictions", "artifacts"):
        rest = "evaluation_id IN (SELECT id FROM evaluations WHERE run_id != ?)"
        run(
            f"DELETE FROM {table} WHERE " + (rest if table in ("scores", "image_scores") else "run_id != ?"),
            (template,),
        )
    run("DELETE FROM evaluations WHERE run_id != ?", (template,))
    run("DELETE FROM suite_entries")
    run("DELETE FROM runs WHERE id != ?", (template,))
    random = np.random.default_rng(5)
    for model in range(models):
        level = float(random.uniform(0.3, 0.9))
        for seed in range(seeds):
            name = f"{model:03d}-{seed}"
            made = kept | {
                "fingerprint": f"{model * seeds + seed:064x}", "cell": f"{model:064x}", "seed": seed, "grid": "{}",
                "model": f"Model {model:03d}", "parameters": int(random.integers(1e6, 9e7)),
                "model_params": json.dumps({"width": model}),
            }  # fmt: skip
            marks = ", ".join("?" * len(made))
            new = run(f"INSERT INTO runs ({', '.join(made)}) VALUES ({marks})", tuple(made.values())).lastrowid
            run("INSERT INTO suite_entries (suite, run_id) VALUES (?, ?)", (suite, new))
            for evaluation, split in own:
                values = run(f"SELECT {', '.join(fields)} FROM evaluations WHERE id = ?", (evaluation,)).fetchone()
                row = dict(zip(fields, values, strict=True)) | {"score_fingerprint": f"{name}-{split}"}
                marks = ", ".join("?" * (len(row) + 1))
                written = run(
                    f"INSERT INTO evaluations (run_id, {', '.join(row)}) VALUES ({marks})", (new, *row.values())
                ).lastrowid
                shift = level - 0.5 + float(random.normal(0, 0.01))
                run(
                    "INSERT INTO scores SELECT ?, metric, class_index, CASE WHEN value <= 1 THEN"
                    " min(1, max(0, value + ?)) ELSE value END FROM scores WHERE evaluation_id = ?",
                    (written, shift, evaluation),
                )
    run("DELETE FROM scores WHERE evaluation_id IN (SELECT id FROM evaluations WHERE run_id = ?)", (template,))
    run("DELETE FROM image_scores WHERE evaluation_id IN (SELECT id FROM evaluations WHERE run_id = ?)", (template,))
    run("DELETE FROM evaluations WHERE run_id = ?", (template,))
    for table in ("curves", "gallery_predictions", "artifacts"):
        run(f"DELETE FROM {table} WHERE run_id = ?", (template,))
    run("DELETE FROM runs WHERE id = ?", (template,))
    connection.commit()
    connection.close()
    return place
