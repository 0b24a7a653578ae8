"""The style sheet of a report: for a screen, and for A4 in print."""

from typing import Final

STYLE: Final = """
@page { size: A4; margin: 15mm 14mm; }
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; color: #1d1d1d; background: #fff; font: 15px/1.45 "Noto Sans", "DejaVu Sans",
  "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
main { max-width: 54rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 1.9rem 0 .5rem; padding-bottom: .2rem;
  border-bottom: 1px solid #c8c8c8; break-after: avoid; }
h3 { font-size: 1rem; margin: 1.1rem 0 .3rem; break-after: avoid; }
p { margin: .4rem 0; }
.subtitle { color: #4a4a4a; }
.warning { border-left: 4px solid #b34700; background: #fdf3ea; padding: .6rem .9rem;
  margin: 1rem 0; break-inside: avoid; }
.caption { color: #4a4a4a; font-size: .85rem; }
figure { margin: .5rem 0; break-inside: avoid; }
svg { display: block; width: 100%; height: auto; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; margin: .5rem 0; }
caption { text-align: left; color: #4a4a4a; font-size: .85rem; padding-bottom: .25rem; }
th, td { text-align: left; vertical-align: top; padding: .22rem .6rem .22rem 0;
  border-bottom: 1px solid #e2e2e2; overflow-wrap: break-word; }
thead th.number { white-space: normal; }
thead th { border-bottom: 1px solid #8a8a8a; font-weight: 600; }
table.short { break-inside: avoid; }
tbody th { font-weight: 600; }
tr { break-inside: avoid; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.facts th { width: 11rem; }
.quote { border: 1px solid #d5d5d5; background: #fafafa; padding: .7rem .9rem; }
.hash { overflow-wrap: anywhere; font-family: "DejaVu Sans Mono", monospace; font-size: .78rem; }
ul, ol { margin: .4rem 0; padding-left: 1.3rem; }
footer { margin-top: 1.2rem; color: #4a4a4a; font-size: .85rem; border-top: 1px solid #c8c8c8; }
@media print { body { font-size: 9pt; } main { max-width: none; padding: 0; } }
"""
