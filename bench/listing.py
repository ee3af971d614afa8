"""`bench suites`, `bench models`, `bench datasets`: what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.console import DataOption, new_console, table

JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]


def suites(
    show: Annotated[str | None, typer.Option(metavar="NAME", help="Print one suite, its recipe resolved.")] = None,
) -> None:
    """List the suites that come with the project.

    Example: bench suites --show demo
    """
    import yaml

    from harness.config.load import load_suite, suite_files

    if show is not None:
        print(
            yaml.safe_dump(load_suite(show).model_dump(mode="json"), sort_keys=False, allow_unicode=True),
            end="",
        )
        return
    rows = []
    for name in suite_files():
        suite = load_suite(name)
        cells = len(suite.models) * len(suite.datasets) * len(suite.seeds)
        for values in suite.grid.values():
            cells *= len(values)
        rows.append((name, suite.title, ", ".join(d.name for d in suite.datasets), len(suite.models), cells))
    new_console().print(table(("suite", "", "data sets", "models", "jobs"), rows, right=2))


def models(json: JsonOption = False) -> None:
    """List every network that a suite can name, with its size: parameters, and operations for one image of 512×512.

    With segbench[zoo] installed, smp/ARCHITECTURE/ENCODER names hundreds more, such as smp/Unet/resnet34.

    Example: bench models
    """
    from harness.models.registry import known_models
    from harness.models.size import measure_all

    entries = list(known_models().values())
    sizes = measure_all(entries)
    if json:
        import json as codec

        listed = [
            {
                "name": e.name,
                "origin": e.origin,
                "summary": e.summary,
                "stride": e.stride,
                "backbone": e.backbone,
                "parameters": size[0] if size else None,
                "flops": size[1] if size else None,
                "license": e.license,
                "paper": e.paper,
            }
            for e, size in ((e, sizes[e.name]) for e in entries)
        ]
        print(codec.dumps(listed, indent=2, ensure_ascii=False))
        return
    rows = []
    for e in entries:
        size = sizes[e.name]
        shown = (f"{size[0] / 1e6:.2f} M", f"{size[1] / 1e9:.1f} G") if size else ("–", "–")
        rows.append((e.name, e.origin, e.summary, e.license or "–", e.paper, *shown))
    heads = ("model", "origin", "", "license", "paper", "parameters", "FLOPs")
    new_console().print(table(heads, rows, right=2))


def datasets(data_dir: DataOption = None, json: JsonOption = False) -> None:
    """List every data set, where it comes from, its variants, and where a copy was found.

    Example: bench datasets --data-dir DIR
    """
    from harness.datasets import data_dir as folder_of
    from harness.datasets import dataset_class, dataset_names, dataset_origin, find_copy

    folder = folder_of(data_dir)
    rows = []
    for name in dataset_names():
        cls = dataset_class(name)
        root = find_copy(name, folder)
        rows.append((name, dataset_origin(name), cls.info, str(root) if root else None, cls.generated))
    if json:
        import json as codec

        listed = [
            {
                "name": name,
                "origin": origin,
                "title": info.title,
                "license": info.license,
                "classes": list(info.classes),
                "variants": dict(info.variants),
                "found": root,
            }
            for name, origin, info, root, _ in rows
        ]
        print(codec.dumps(listed, indent=2, ensure_ascii=False))
        return
    shown = [
        (
            name,
            origin,
            info.title,
            len(info.classes),
            "; ".join(f"{v}: {text}" for v, text in info.variants.items()),
            root or ("made on first use" if generated else "not found"),
        )
        for name, origin, info, root, generated in rows
    ]
    new_console().print(table(("data set", "origin", "", "classes", "variants", "copy"), shown))


def metrics(json: JsonOption = False) -> None:
    """List every metric with its definition, its direction and where it comes from.

    A metric of one class is written with the class in brackets: iou[horse].

    Example: bench metrics
    """
    from harness.metrics.metric import METRICS, all_metrics

    listed = [
        {
            "name": m.name,
            "title": m.title,
            "better": "higher" if m.higher_is_better else "lower",
            "unit": m.unit,
            "over classes": m.overall,
            "of a class": m.per_class,
            "binary sets only": m.foreground_only,
            "definition": m.definition,
            "origin": METRICS.origin(m.name),
        }
        for m in all_metrics()
    ]
    if json:
        import json as codec

        print(codec.dumps(listed, indent=2, ensure_ascii=False))
        return
    marks = [{k: ("yes" if v is True else "" if v is False else v) for k, v in line.items()} for line in listed]
    new_console().print(table(tuple(listed[0]), [tuple(line.values()) for line in marks]))
