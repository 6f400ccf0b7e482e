// Pictures as ViT, DeiT, DINOv2 and CLIP read them: scaled, cut and normalised as the model's preprocessor_config.json says.

/**
 * @typedef {object} Settings  of preprocessor_config.json
 * @property {number | { height: number, width: number } | { shortest_edge: number }} [size]
 * @property {boolean} [do_resize]
 * @property {boolean} [do_center_crop]
 * @property {number | { height: number, width: number }} [crop_size]
 * @property {boolean} [do_rescale]
 * @property {number} [rescale_factor]
 * @property {boolean} [do_normalize]
 * @property {number[]} [image_mean]
 * @property {number[]} [image_std]
 */

/**
 * For pages and workers: scaled by the browser.
 *
 * @param {Blob | ImageBitmapSource} source  a file, an <img>, a canvas, a frame of a video
 * @param {Settings} settings
 * @returns {Promise<{ data: Float32Array, shape: number[] }>} for `pixelValues`: [1, 3, height, width]
 */
export async function pixelValues(source, settings) {
  const bitmap = await createImageBitmap(source);
  const { height, width, scaled } = placeOf(bitmap, settings);
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  context.imageSmoothingQuality = 'high';
  // What is transparent is black, and so is what a smaller picture leaves free.
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, scaled.left, scaled.top, scaled.width, scaled.height);
  bitmap.close();
  return valuesOf(context.getImageData(0, 0, width, height), settings);
}

/**
 * Size of the result, and where in it the scaled picture lies.
 *
 * @param {{ height: number, width: number }} picture
 * @param {Settings} settings
 */
export function placeOf(picture, { size = 224, do_resize = true, do_center_crop = false, crop_size }) {
  const scaled = do_resize
    ? scaledSize(picture, size, do_center_crop)
    : { height: picture.height, width: picture.width };
  const { height, width } = do_center_crop ? sidesOf(crop_size ?? size) : scaled;
  const left = Math.ceil((width - scaled.width) / 2);
  const top = Math.ceil((height - scaled.height) / 2);
  return { height, width, scaled: { ...scaled, left, top } };
}

/** The shortest edge is given, or both; a number alone is the shortest edge of what is cut afterwards. */
function scaledSize({ height, width }, size, isCut) {
  const shortest = typeof size === 'number' ? (isCut ? size : undefined) : size.shortest_edge;
  if (shortest === undefined) return sidesOf(size);
  const side = (length) => Math.floor((shortest * length) / Math.min(height, width));
  return { height: side(height), width: side(width) };
}

function sidesOf(size) {
  if (typeof size === 'number') return { height: size, width: size };
  return { height: size.height ?? size.shortest_edge, width: size.width ?? size.shortest_edge };
}

/**
 * Channels one after the other, from bytes side by side (red, green, blue, opacity).
 *
 * @param {{ data: ArrayLike<number>, height: number, width: number }} image
 * @param {Settings} settings
 */
export function valuesOf(
  { data, height, width },
  { do_rescale = true, rescale_factor = 1 / 255, do_normalize = true, image_mean, image_std },
) {
  const area = height * width;
  const values = new Float32Array(3 * area);
  for (let channel = 0; channel < 3; channel++) {
    const mean = do_normalize ? (image_mean?.[channel] ?? 0.5) : 0;
    const deviation = do_normalize ? (image_std?.[channel] ?? 0.5) : 1;
    const factor = do_rescale ? rescale_factor : 1;
    for (let i = 0; i < area; i++)
      values[channel * area + i] = (data[4 * i + channel] * factor - mean) / deviation;
  }
  return { data: values, shape: [1, 3, height, width] };
}
