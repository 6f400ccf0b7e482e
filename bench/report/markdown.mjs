// A report as Markdown: text and tables; plots are for HTML.

/** @param {string} text */
const escape = (text) => text.replaceAll('|', '\\|');

/** @param {string[]} cells */
const row = (cells) => `| ${cells.map(escape).join(' | ')} |`;

/** @param {import('./document.mjs').Block} block @returns {string[]} none for a plot */
export function formatBlock(block) {
  if (block.kind === 'text') return [block.text];
  if (block.kind === 'headline' || block.kind === 'warning') return [`**${block.text}**`];
  if (block.kind === 'plot') return [];
  const rule = block.head.map((_, column) => (column < block.left ? '---' : '--:'));
  return [[row(block.head), row(rule), ...block.rows.map(row)].join('\n')];
}

/** @param {readonly import('./document.mjs').Section[]} sections */
export const toMarkdown = (sections) =>
  `${sections
    .flatMap(({ title, level, blocks }) => [`${'#'.repeat(level)} ${title}`, ...blocks.flatMap(formatBlock)])
    .join('\n\n')}\n`;
