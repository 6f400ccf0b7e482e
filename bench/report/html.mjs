// A report as one HTML file that needs nothing else: no script, no network.

import { Window } from 'happy-dom';
import { drawPlot } from './plots.mjs';

const document = /** @type {any} */ (new Window().document);

const STYLE = `
:root { color-scheme: light dark; --line: #8884; --warn: #c60; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 0.15rem 0.6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th.left, td.left { text-align: left; }
.warning { border-left: 4px solid var(--warn); padding-left: 0.8rem; }
figcaption { font-weight: 600; }
figure figure { margin: 0; --plot-background: Canvas; }
`;

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
  if (block.kind === 'warning') return `<p class="warning">${escape(block.text)}</p>`;
  if (block.kind === 'plot')
    return `<figure><figcaption>${escape(block.title)}</figcaption><div class="scroll">${drawPlot(block, { document }).outerHTML}</div></figure>`;
  const body = block.rows.map((cells) => row('td', cells, block.left)).join('\n');
  return `<div class="scroll"><table>\n<thead>${row('th', block.head, block.left)}</thead>\n<tbody>${body}</tbody>\n</table></div>`;
}

/** @param {readonly import('./document.mjs').Section[]} sections */
export const toHtml = (sections) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
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
