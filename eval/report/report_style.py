"""The look of ``report.html``: light and dark, wide and narrow, on paper."""

from synthspine.eval.results.findings import MODEL_COLOURS

PRINT_SCRIPT = (
    "addEventListener('beforeprint',()=>document.querySelectorAll('details').forEach(d=>d.open=true))"
)
STYLE = f"""
:root {{ color-scheme: light dark; --text: #1c1f24; --soft: #5b6470; --line: #d9dde3; --page: #fff;
  --panel: #f5f6f8; --link: #5a1a3d; --warn: #7a4a00; --warn-page: #fff3d6; --a: {MODEL_COLOURS["A"]};
  --b: {MODEL_COLOURS["B"]}; }}
@media (prefers-color-scheme: dark) {{ :root {{
  --text: #e7e9ec; --soft: #a4adb8; --line: #363c45; --page: #15181c;
  --panel: #1e2227; --link: #f0b6d2; --warn: #ffd98a; --warn-page: #3a2c0c; --a: #d0668f; }} }}
* {{ box-sizing: border-box; }}
html {{ scroll-behavior: smooth; scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }}
body {{ margin: 0 auto; padding: 1.5rem 1.25rem 3rem; max-width: 68rem; background: var(--page);
  color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }}
h1 {{ font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; }}
h2 {{ font-size: 1.35rem; margin: 2.75rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }}
h3 {{ font-size: 1rem; margin: 1.5rem 0 .5rem; }}
p {{ margin: .6rem 0; max-width: 50rem; }}
.made, .note, figcaption, footer {{ color: var(--soft); font-size: .85rem; line-height: 1.45;
  overflow-wrap: anywhere; }}
.banner {{ max-width: none; padding: .75rem 1rem; border-left: 5px solid #e69f00; border-radius: 4px;
  background: var(--warn-page); color: var(--warn); font-weight: 600; }}
nav {{ display: flex; flex-wrap: wrap; gap: .35rem; margin-top: 1rem; }}
nav a {{ padding: .2rem .7rem; border: 1px solid var(--line); border-radius: 1rem; color: var(--link);
  font-size: .85rem; text-decoration: none; }}
nav a:hover, nav a:focus-visible {{ background: var(--panel); }}
.cards {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1rem;
  margin: 1rem 0 1.25rem; }}
.card {{ padding: .9rem 1.1rem; border: 1px solid var(--line); border-radius: 10px;
  background: var(--panel); }}
.card h3 {{ margin: 0 0 .5rem; }}
.card p {{ margin: .6rem 0 0; font-size: .9rem; }}
.row {{ display: grid; grid-template-columns: 1.2rem 1fr 4rem; align-items: center; gap: .6rem; }}
.row b {{ font-size: 1.5rem; text-align: right; font-variant-numeric: tabular-nums; }}
.row .name {{ font-weight: 600; }}
.bar {{ height: .7rem; border-radius: 4px; background: var(--line); overflow: hidden; }}
.bar i {{ display: block; height: 100%; }}
.A .bar i {{ background: var(--a); }}
.B .bar i {{ background: var(--b); }}
.scroll {{ overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }}
table {{ border-collapse: collapse; width: 100%; font-size: .84rem; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .6rem; text-align: right; vertical-align: top; white-space: nowrap; }}
thead th {{ white-space: normal; background: var(--panel); border-bottom: 1px solid var(--line);
  vertical-align: bottom; }}
th.key, tbody th, .words td, .words th {{ text-align: left; }}
tbody th {{ font-weight: 500; }}
tbody:not(:has([scope=rowgroup])) th:first-child {{ position: sticky; left: 0; background: var(--page); }}
tbody th[scope=rowgroup] {{ font-weight: 600; }}
tbody + tbody {{ border-top: 1px solid var(--line); }}
tbody tr:nth-child(even) td, tbody tr:nth-child(even) th[scope=row] {{
  background: color-mix(in srgb, var(--panel) 55%, transparent); }}
td small {{ display: block; color: var(--soft); font-size: .76rem; }}
.words td {{ white-space: normal; overflow-wrap: anywhere; min-width: 8rem; }}
.whole {{ white-space: nowrap; }}
details {{ margin: .8rem 0; }}
summary {{ cursor: pointer; padding: .4rem 0; font-weight: 600; }}
figure {{ margin: 1.25rem 0; }}
img {{ display: block; max-width: 100%; height: auto; margin: 0 auto; padding: .4rem; border-radius: 8px;
  background: #fff; border: 1px solid var(--line); }}
figcaption {{ margin-top: .4rem; }}
footer {{ margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); }}
@media (max-width: 40rem) {{
  body {{ padding: 1rem .8rem 2rem; font-size: 15px; }}
  h1 {{ font-size: 1.5rem; }}
  figure {{ overflow-x: auto; }}
  img {{ max-width: none; width: 42rem; }}
  figcaption {{ position: sticky; left: 0; }}
  th, td {{ padding: .28rem .45rem; }}
}}
@media print {{
  :root {{ color-scheme: light; --text: #000; --soft: #444; --line: #bbb; --page: #fff; --panel: #f3f3f3; }}
  @page {{ size: A4; margin: 14mm; }}
  body {{ max-width: none; padding: 0; font-size: 10pt; print-color-adjust: exact;
    -webkit-print-color-adjust: exact; }}
  nav {{ display: none; }}
  h2, h3, summary {{ break-after: avoid; }}
  figure, .card, tr {{ break-inside: avoid; }}
  .scroll {{ overflow: visible; border: 0; }}
  table {{ font-size: 7.2pt; }}
  th, td {{ padding: .12rem .25rem; }}
  td small {{ font-size: 6.4pt; }}
  details::details-content {{ content-visibility: visible; height: auto; }}
}}
"""
