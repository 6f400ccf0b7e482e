// Lines over steps, on a canvas: colours are those of the style sheet.

const MARGIN = { top: 12, right: 14, bottom: 24, left: 36 };

/**
 * @typedef {object} Line
 * @property {string} color  a custom property of the style sheet: '--heat'
 * @property {{ step: number, value: number }[]} points
 * @property {boolean} [faint]  one of several that the eye need not follow
 */

/**
 * @param {HTMLCanvasElement} canvas
 * @param {object} chart
 * @param {number} chart.steps  the end of the axis below
 * @param {number} chart.top  the end of the axis beside
 * @param {number} [chart.bar]  a level to mark
 * @param {Line[]} chart.lines  the last is drawn over the others
 */
export function drawChart(canvas, { steps, top, bar, lines }) {
  const density = window.devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(height * density);
  const context = canvas.getContext('2d');
  const style = window.getComputedStyle(canvas);
  context.scale(density, density);
  context.font = `12px ${style.fontFamily}`;
  const x = (step) => MARGIN.left + (step / steps) * (width - MARGIN.left - MARGIN.right);
  const y = (value) => height - MARGIN.bottom - (value / top) * (height - MARGIN.top - MARGIN.bottom);

  const level = (value, color, dashes) => {
    context.strokeStyle = style.getPropertyValue(color);
    context.setLineDash(dashes);
    context.beginPath();
    context.moveTo(x(0), y(value));
    context.lineTo(x(steps), y(value));
    context.stroke();
    context.setLineDash([]);
  };
  context.fillStyle = style.color;
  context.textBaseline = 'middle';
  context.textAlign = 'right';
  for (const part of [0, 0.5, 1]) {
    level(part * top, '--grid', []);
    context.fillText(String(part * top), MARGIN.left - 8, y(part * top));
  }
  context.textBaseline = 'top';
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    context.textAlign = part === 0 ? 'left' : part === 1 ? 'right' : 'center';
    context.fillText(String(part * steps), x(part * steps), height - MARGIN.bottom + 7);
  }
  if (bar !== undefined) {
    level(bar, '--quiet', [3, 4]);
    context.textAlign = 'left';
    context.textBaseline = 'bottom';
    context.fillText(String(bar), x(0) + 4, y(bar) - 2);
  }

  context.lineJoin = 'round';
  for (const { color, points, faint } of lines) {
    context.strokeStyle = style.getPropertyValue(color);
    context.globalAlpha = faint ? 0.4 : 1;
    context.lineWidth = faint ? 1.25 : 2;
    context.beginPath();
    for (const { step, value } of points) context.lineTo(x(step), y(value));
    context.stroke();
  }
  context.globalAlpha = 1;
}
