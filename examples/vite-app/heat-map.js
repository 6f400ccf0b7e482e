// One head's weights as a picture: a row per query, a column per key. Opacity is the square root of the weight, so that small
// weights can be seen.

/** @param {string} name @param {(query: number, key: number) => void} onPoint */
export function createHeatMap(name, onPoint) {
  const figure = document.createElement('figure');
  const caption = document.createElement('figcaption');
  const frame = document.createElement('div');
  const canvas = document.createElement('canvas');
  const row = document.createElement('i');
  caption.textContent = name;
  frame.className = 'frame';
  frame.append(canvas, row);
  figure.append(caption, frame);

  let count = 0;
  canvas.addEventListener('pointermove', point);
  canvas.addEventListener('pointerdown', point);

  function point({ offsetX, offsetY }) {
    if (count === 0) return;
    const cell = (offset, size) => Math.min(count - 1, Math.max(0, Math.floor((offset / size) * count)));
    onPoint(cell(offsetY, canvas.clientHeight), cell(offsetX, canvas.clientWidth));
  }

  return {
    figure,
    /** @param {Float32Array} weights [tokens, tokens] @param {number} tokens */
    draw(weights, tokens) {
      count = tokens;
      canvas.width = canvas.height = Math.max(1, tokens);
      if (tokens === 0) return;
      const image = new window.ImageData(tokens, tokens);
      const [red, green, blue] = window.getComputedStyle(canvas).color.match(/\d+/g).map(Number);
      weights.forEach((weight, i) => image.data.set([red, green, blue, 255 * Math.sqrt(weight)], 4 * i));
      canvas.getContext('2d').putImageData(image, 0, 0);
    },
    /** Frames the row of a query. @param {number} query */
    select(query) {
      row.hidden = query >= count;
      row.style.top = `${(100 * query) / count}%`;
      row.style.height = `${100 / count}%`;
    },
  };
}
