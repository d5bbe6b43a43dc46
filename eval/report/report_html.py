"""The report as one HTML file that needs nothing else: style, figures and overlays are in it."""

import base64
import html
import re
from pathlib import Path

from synthspine.eval.report.report_style import PRINT_SCRIPT, STYLE
from synthspine.eval.report.sections import PHANTOM_BANNER, TITLE, Picture, Section, credit, made
from synthspine.eval.report.tables import Table, score, signed, to_html
from synthspine.eval.results.findings import OVERALL, Findings, set_name
from synthspine.eval.results.paired import gap

UNBROKEN = re.compile(r"\[[^\]]{3,20}\]|p (?:=|&lt;) \.\d+")
"""Intervals and p values, which are not to be broken over two lines."""
WHOLE = r"<span class=whole>\g<0></span>"


def as_html(findings: Findings, sections: list[Section], folder: Path) -> str:
    """The whole page.

    Args:
        findings: what was measured.
        sections: what the report says.
        folder: where the pictures are.
    """
    links = "".join(f'<a href="#{section.name}">{html.escape(section.title)}</a>' for section in sections)
    banner = f'<p class="banner" role="note">{html.escape(PHANTOM_BANNER)}</p>' if findings.phantom else ""
    body = "".join(_section(findings, section, folder) for section in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{TITLE}</title>'
        f"<style>{STYLE}</style></head>\n"
        f"<body><header><h1>{TITLE}</h1>{banner}<p class=made>{html.escape(made(findings))}</p>"
        f"<nav aria-label=Sections>{links}</nav></header>\n<main>{body}</main>\n"
        f"<footer>{html.escape(credit(findings))}</footer><script>{PRINT_SCRIPT}</script></body></html>\n"
    )


def _section(findings: Findings, section: Section, folder: Path) -> str:
    parts = "".join(_part(part, folder) for part in section.parts)
    cards = _cards(findings) if section.name == "answer" else ""
    title = html.escape(section.title)
    return f'<section id="{section.name}"><h2>{title}</h2>{cards}{parts}</section>\n'


def _part(part: str | Table | Picture, folder: Path) -> str:
    if isinstance(part, str):
        return f"<p>{UNBROKEN.sub(WHOLE, html.escape(part))}</p>"
    if isinstance(part, Table):
        return to_html(part)
    data = base64.b64encode((folder / part.file).read_bytes()).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{html.escape(part.alt)}" loading="lazy">'
        f"<figcaption>{html.escape(part.caption)}</figcaption></figure>"
    )


def _cards(findings: Findings) -> str:
    """The overall Dice of both models on every real set, large."""
    cards = []
    for place in findings.real_sets:
        rows = [_card_row(findings, model, place) for model in findings.models]
        pair = gap(findings, place)
        below = ""
        if pair is not None:
            low, high = signed(pair.difference.low), signed(pair.difference.high)
            below = (
                f"<p>A − B <b>{signed(pair.difference.mean)}</b> <small>[{low}, {high}], "
                f"n {pair.n}</small></p>"
            )
        cards.append(f"<div class=card><h3>{html.escape(set_name(place))}</h3>{''.join(rows)}{below}</div>")
    return f"<div class=cards>{''.join(cards)}</div>" if cards else ""


def _card_row(findings: Findings, model: str, place: str) -> str:
    measurement = findings.plain(model, place)
    interval = None if measurement is None else measurement.interval(OVERALL)
    if interval is None:
        return ""
    width = f"{100 * interval.mean:.1f}%"
    return (
        f'<div class="row {model}"><span class=name>{model}</span>'
        f"<span class=bar><i style=width:{width}></i></span><b>{score(interval.mean)}</b></div>"
    )
