// The loss while it falls, in a terminal: a picture that is drawn again in its place. Where nobody looks (a pipe, a log), now and then a line.

/** Of the 256 colours, such as stand out on dark and on light. */
export const INK = { loss: 33, measure: 162, reached: 35, missed: 166, quiet: 245 };

/** A picture hides the cursor: a program that ends in the middle of one gives it back. */
export const SHOW_CURSOR = '\x1b[?25h';

const LOSS_ROWS = 10;
const MEASURE_ROWS = 3;
/** Columns before a chart: a number, and the axis. */
const MARGIN = 8;
const MOST_COLUMNS = 100;
/** Pictures a second at most. */
const PICTURES = 12;
/** Lines in all where nobody looks. */
const LINES = 20;
/** Steps whose mean is written out. */
const RECENT = 10;
const EIGHTHS = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/** Bits of the dots of a braille character, from the top, left and right. */
const DOTS = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80],
];

/**
 * @typedef {object} Taken
 * @property {number} step  the first is 1
 * @property {number} loss
 * @property {number} tokensPerSecond
 */

export class Curve {
  /** @type {Taken[]} */
  #taken = [];
  /** @type {{ step: number, value: number }[]} */
  #measures = [];
  #rows = 0;
  #columns = 0;
  #drawn = -Infinity;
  /** @type {number | undefined} */
  #told;
  #start = performance.now();

  /**
   * @param {import('node:tty').WriteStream} stream
   * @param {import('../examples/lookup/style.mjs').Style} style
   * @param {{ title: string, steps: number, watch: { label: string, bar: number } }} task
   */
  constructor(stream, style, { title, steps, watch }) {
    this.stream = stream;
    this.style = style;
    this.title = title;
    this.steps = steps;
    this.watch = watch;
  }

  /** @param {Taken} taken @param {number} [measure]  of the model after this step */
  add(taken, measure) {
    this.#taken.push(taken);
    if (measure !== undefined) this.#measures.push({ step: taken.step, value: measure });
    if (!this.stream.isTTY) return this.#tell(taken.step);
    if (performance.now() - this.#drawn > 1000 / PICTURES) this.#draw();
  }

  /** Leaves the last picture where it is. Safe to repeat. */
  end() {
    if (this.#rows === 0) return;
    this.#draw();
    this.stream.write(SHOW_CURSOR);
    this.#rows = 0;
  }

  /** The picture, for a terminal of so many columns. @param {number} columns @returns {string[]} */
  picture(columns) {
    const { style, steps } = this;
    const width = Math.max(8, Math.min(columns, MOST_COLUMNS) - MARGIN - 1);
    const losses = means(this.#taken, ({ loss }) => loss, steps, width * (style.unicode ? 2 : 1));
    const top = niceAbove(Math.max(0, ...losses.map(({ value }) => value)));
    const lines = style.unicode
      ? brailleLine(losses, width, LOSS_ROWS, top)
      : asciiLine(losses, width, LOSS_ROWS, top);
    const bars = columnsOf(this.#measures, steps, width);
    return [
      style.bold(style.quote(this.title, columns)),
      '',
      ...lines.map(
        (line, row) =>
          axis(row === 0 ? top : row === LOSS_ROWS >> 1 ? top / 2 : undefined, style) +
          style.ink(line, INK.loss),
      ),
      ...stepAxis(steps, width, style),
      ...this.#measureRows(bars, width),
      '',
      this.#status(columns),
    ];
  }

  #measureRows(bars, width) {
    const { style, watch } = this;
    const barRow = Math.min(MEASURE_ROWS - 1, Math.floor((1 - watch.bar) * MEASURE_ROWS));
    return Array.from({ length: MEASURE_ROWS }, (_, row) => {
      const cells = Array.from({ length: width }, (_, column) => {
        const value = bars[column];
        const filled = value === undefined ? 0 : value * MEASURE_ROWS - (MEASURE_ROWS - 1 - row);
        const eighths = Math.max(0, Math.min(8, Math.round(8 * filled)));
        const empty = row === barRow ? style.ink(style.unicode ? '╌' : '-', INK.quiet) : ' ';
        if (eighths === 0) return empty;
        const mark = style.unicode ? EIGHTHS[eighths] : eighths >= 4 ? '#' : ' ';
        return style.ink(mark, value > watch.bar ? INK.reached : INK.measure);
      });
      return axis(row === barRow ? watch.bar : undefined, style) + cells.join('');
    });
  }

  /** In so many columns what there is room for, the first things first. */
  #status(columns = Infinity) {
    const { style } = this;
    const { label, bar } = this.watch;
    const { step } = this.#taken.at(-1);
    const measure = this.#measures.at(-1)?.value;
    const parts = [
      { text: `step ${step}/${this.steps}` },
      { text: `loss ${this.#recent('loss').toFixed(3)}`, ink: INK.loss },
      ...(measure === undefined
        ? []
        : [{ text: `${label} ${measure.toFixed(2)}`, ink: measure > bar ? INK.reached : INK.measure }]),
      { text: step < this.steps ? `${duration(this.#secondsLeft())} left` : duration(this.#seconds()) },
      { text: `${Math.round(this.#recent('tokensPerSecond')).toLocaleString('en')} tokens/s` },
    ];
    const between = style.unicode ? ' · ' : ', ';
    while (parts.length > 1 && parts.map(({ text }) => text).join(between).length > columns) parts.pop();
    return parts.map(({ text, ink }) => (ink === undefined ? text : style.ink(text, ink))).join(between);
  }

  /** The mean over the last steps: a single one says little. @param {'loss' | 'tokensPerSecond'} what */
  #recent(what) {
    const recent = this.#taken.slice(-RECENT);
    return recent.reduce((sum, taken) => sum + taken[what], 0) / recent.length;
  }

  #seconds() {
    return (performance.now() - this.#start) / 1000;
  }

  #secondsLeft() {
    const { step } = this.#taken.at(-1);
    return (this.#seconds() / this.#taken.length) * (this.steps - step);
  }

  /** In the place of the picture before. */
  #draw() {
    const { stream } = this;
    // A line that the terminal has broken in two would be counted wrongly: after a change of its width the picture goes below.
    const up = this.#rows > 0 && this.#columns === stream.columns ? `\x1b[${this.#rows}A\r` : '';
    const lines = this.picture(stream.columns ?? 80);
    stream.write(`\x1b[?25l${up}${lines.map((line) => `${line}\x1b[K\n`).join('')}`);
    this.#rows = lines.length;
    this.#columns = stream.columns;
    this.#drawn = performance.now();
  }

  /** A line for a log: of the first step, and LINES more. @param {number} step */
  #tell(step) {
    if (this.#told === undefined) this.stream.write(`${this.title}\n`);
    const line = Math.floor((step * LINES) / this.steps);
    if (line === this.#told) return;
    this.#told = line;
    this.stream.write(`  ${this.#status()}\n`);
  }
}

/** Means of what falls into the same of `columns` columns. @returns {{ column: number, value: number }[]} */
function means(list, valueOf, steps, columns) {
  const sums = new Map();
  for (const item of list) {
    const value = valueOf(item);
    const column = Math.min(columns - 1, Math.floor(((item.step - 1) / steps) * columns));
    const { sum, count } = sums.get(column) ?? { sum: 0, count: 0 };
    if (Number.isFinite(value)) sums.set(column, { sum: sum + value, count: count + 1 });
  }
  return Array.from(sums, ([column, { sum, count }]) => ({ column, value: sum / count }));
}

/** The last measure at each column that steps have reached. */
function columnsOf(measures, steps, columns) {
  const values = [];
  for (const { step, value } of measures) {
    const column = Math.min(columns - 1, Math.floor(((step - 1) / steps) * columns));
    for (let at = Math.min(values.length, column); at < column; at++) values[at] = values.at(-1) ?? value;
    values[column] = value;
  }
  return values;
}

/** A line through points, of dots two by four a character. */
function brailleLine(points, width, rows, top) {
  const cells = Array.from({ length: rows }, () => new Uint8Array(width));
  const heights = rows * 4;
  const yOf = (value) => Math.max(0, Math.min(heights - 1, Math.round((1 - value / top) * (heights - 1))));
  // Two dots thick: one is hardly seen.
  const dot = (x, y) => {
    for (const at of [y, Math.min(heights - 1, y + 1)]) cells[at >> 2][x >> 1] |= DOTS[at & 3][x & 1];
  };
  points.forEach(({ column, value }, i) => {
    const y = yOf(value);
    const before = points[i - 1];
    if (!before) return dot(column, y);
    const from = yOf(before.value);
    for (let x = before.column + 1; x <= column; x++) {
      const share = (at) => Math.round(from + ((y - from) * (at - before.column)) / (column - before.column));
      const [a, b] = [share(x - 1), share(x)];
      for (let at = Math.min(a, b); at <= Math.max(a, b); at++) if (at !== a || a === b) dot(x, at);
    }
  });
  return cells.map((row) =>
    Array.from(row, (bits) => (bits ? String.fromCharCode(0x2800 + bits) : ' ')).join(''),
  );
}

function asciiLine(points, width, rows, top) {
  const cells = Array.from({ length: rows }, () => new Array(width).fill(' '));
  for (const { column, value } of points)
    cells[Math.max(0, Math.min(rows - 1, Math.round((1 - value / top) * (rows - 1))))][column] = '*';
  return cells.map((row) => row.join(''));
}

/** What stands before a row of a chart. @param {number | undefined} value */
function axis(value, style) {
  const label = (value === undefined ? '' : String(Number(value.toPrecision(2)))).padStart(MARGIN - 2);
  const tick = value === undefined ? '│' : '┤';
  return style.ink(`${label} ${style.unicode ? tick : '|'}`, INK.quiet);
}

/** The axis of steps, with its quarters. */
function stepAxis(steps, width, style) {
  const [corner, line, tick] = style.unicode ? ['└', '─', '┴'] : ['+', '-', '+'];
  const places = [1, 2, 3, 4].map((quarter) => [
    Math.round((quarter * width) / 4) - 1,
    (quarter * steps) / 4,
  ]);
  const ruler = new Array(width).fill(line);
  const labels = new Array(width + 1).fill(' ');
  for (const [place, step] of places) {
    ruler[place] = tick;
    const text = Math.round(step).toLocaleString('en');
    [...text].forEach(
      (character, i) => (labels[Math.min(width, place + 1) - text.length + 1 + i] = character),
    );
  }
  const before = ' '.repeat(MARGIN - 1);
  return [
    style.ink(`${'0'.padStart(MARGIN - 2)} ${corner}${ruler.join('')}`, INK.quiet),
    style.ink(before + labels.join(''), INK.quiet),
  ];
}

/** The next of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten. */
function niceAbove(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value * 0.999);
}

/** @param {number} seconds */
function duration(seconds) {
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')} min`;
}
