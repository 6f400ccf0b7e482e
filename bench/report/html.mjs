// A report as one HTML file that needs nothing else: no script, no network.

import { Window } from 'happy-dom';
import { drawPlot } from './plots.mjs';

const document = /** @type {any} */ (new Window().document);

const STYLE = `
:root {
  color-scheme: light dark;
  --text: light-dark(#1d1f24, #e9eaec);
  --quiet: light-dark(#5a5f6a, #9ba1ab);
  --back: light-dark(#fcfcfa, #121316);
  --line: light-dark(#dadce0, #34373d);
  --warn: light-dark(#a04000, #ffb27a);
}
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.1rem; font-weight: 600; color: var(--quiet); margin: 0; }
h2 { margin: 3rem 0 0.5rem; border-bottom: 1px solid var(--line); line-height: 1.3; }
h3 { margin: 2rem 0 0.5rem; line-height: 1.3; }
p { max-width: 46rem; overflow-wrap: anywhere; }
.headline { font-size: clamp(1.35rem, 4.5vw, 1.9rem); line-height: 1.25; font-weight: 650; letter-spacing: -0.015em; margin: 0.6rem 0; text-wrap: balance; }
.scroll { overflow-x: auto; margin: 0.8rem 0; }
table { border-collapse: collapse; font-size: 0.86rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { vertical-align: bottom; }
td { white-space: nowrap; }
.texts td { white-space: normal; }
th.left, td.left { text-align: left; }
th:first-child, td:first-child { padding-left: 0; }
.warning { border-left: 4px solid var(--warn); padding-left: 0.8rem; }
figure { margin: 1.6rem 0; }
figcaption { font-weight: 600; margin-bottom: 0.4rem; }
figure figure { margin: 0; max-width: none; }
figure [class*='-swatches'] { font-size: 0.86rem !important; }
.narrow { display: none; }
@media (max-width: 900px) {
  .wide { display: none; }
  .narrow { display: block; }
}
`;

/** Each plot twice, for there is no script that could draw it anew. */
const WIDTHS = /** @type {const} */ ([
  ['wide', 860],
  ['narrow', 328],
]);

/** @param {string} text */
const escape = (text) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** @param {string} tag @param {string[]} cells @param {number} left */
const row = (tag, cells, left) =>
  `<tr>${cells
    .map((cell, column) => `<${tag}${column < left ? ' class="left"' : ''}>${escape(cell)}</${tag}>`)
    .join('')}</tr>`;

/** @param {import('./document.mjs').Block} block */
function formatBlock(block) {
  if (block.kind === 'text') return `<p>${escape(block.text)}</p>`;
  if (block.kind === 'warning' || block.kind === 'headline')
    return `<p class="${block.kind}">${escape(block.text)}</p>`;
  if (block.kind === 'plot') {
    const drawn = WIDTHS.map(
      ([name, width]) => `<div class="${name}">${drawPlot(block, { document, width }).outerHTML}</div>`,
    );
    return `<figure><figcaption>${escape(block.title)}</figcaption>${drawn.join('')}</figure>`;
  }
  const body = block.rows.map((cells) => row('td', cells, block.left)).join('\n');
  return `<div class="scroll"><table${block.left === block.head.length ? ' class="texts"' : ''}>\n<thead>${row('th', block.head, block.left)}</thead>\n<tbody>${body}</tbody>\n</table></div>`;
}

/** @param {readonly import('./document.mjs').Section[]} sections */
export const toHtml = (sections) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(sections[0].title)}</title>
<style>${STYLE}</style>
</head>
<body>
${sections
  .map(({ title, level, blocks }) =>
    [`<h${level}>${escape(title)}</h${level}>`, ...blocks.map(formatBlock)].join('\n'),
  )
  .join('\n')}
</body>
</html>
`;
