// What this program knows of terminals: width, colour, bars, shades, and text that cannot play tricks.

/** Columns of everything that is printed. */
export const WIDTH = 80;

/** Whether colours are wanted: a terminal, unless NO_COLOR says no or FORCE_COLOR says yes. */
export function wantsColor(stream, env) {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR) return env.FORCE_COLOR !== '0';
  return Boolean(stream.isTTY) && env.TERM !== 'dumb';
}

/** Columns a character takes: 2 for most of East Asian scripts and emoji, 0 for marks that combine. */
function columnsOf(character) {
  if (/\p{Mn}|\p{Me}|\p{Cf}/u.test(character)) return 0;
  return /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\u{1f300}-\u{1faff}]/u.test(
    character,
  )
    ? 2
    : 1;
}

/** The text in at most so many columns, without control characters, cut with an ellipsis. */
export function fit(text, columns) {
  // eslint-disable-next-line no-control-regex
  const clean = text.replace(/\t/g, ' ').replace(/[\u0000-\u001f\u007f-\u009f]/g, '\u00b7');
  let used = 0;
  let kept = '';
  for (const character of clean) {
    const width = columnsOf(character);
    if (used + width > columns) return `${dropLast(kept, columns - 1)}\u2026`;
    kept += character;
    used += width;
  }
  return kept;
}

function dropLast(text, columns) {
  const characters = [...text];
  let used = characters.reduce((sum, character) => sum + columnsOf(character), 0);
  while (used > columns) used -= columnsOf(characters.pop());
  return characters.join('');
}

/** A bar of `share` (0 to 1) of so many columns, in eighths of a column. */
export function bar(share, columns) {
  const eighths = Math.round(Math.min(Math.max(share, 0), 1) * columns * 8);
  const rest = ' \u258f\u258e\u258d\u258c\u258b\u258a\u2589'[eighths % 8];
  return ('\u2588'.repeat(eighths >> 3) + (eighths % 8 ? rest : '')).padEnd(columns);
}

/** Dark blue over violet and orange to yellow: each step brighter, so that it reads without colour vision too. */
const RAMP = [17, 18, 54, 90, 126, 162, 198, 203, 208, 214, 220, 227];
const SHADES = [' ', '\u2591', '\u2592', '\u2593', '\u2588'];

/** One cell of a heat map, two columns wide or one. */
export function cell(share, color, width) {
  if (!color) return SHADES[Math.round(share * (SHADES.length - 1))].repeat(width);
  return `\u001b[48;5;${RAMP[Math.round(share * (RAMP.length - 1))]}m${' '.repeat(width)}\u001b[0m`;
}

/** Text in bold, or dim, where colours are wanted. */
export const style = (color) => ({
  bold: (text) => (color ? `\u001b[1m${text}\u001b[0m` : text),
  dim: (text) => (color ? `\u001b[2m${text}\u001b[0m` : text),
  accent: (text) => (color ? `\u001b[38;5;214m${text}\u001b[0m` : text),
});
