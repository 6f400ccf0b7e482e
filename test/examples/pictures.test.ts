// examples/pictures: sizes and values in Node, a picture scaled by a browser in Chromium.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { placeOf, valuesOf } from '../../examples/pictures/pixels.mjs';
import { launchChromium } from '../support/browser.mjs';
import { needs } from '../support/needs.js';

const CLIP = {
  ...{ size: { shortest_edge: 224 }, do_center_crop: true, crop_size: { height: 224, width: 224 } },
  image_mean: [0.48145466, 0.4578275, 0.40821073],
  image_std: [0.26862954, 0.26130258, 0.27577711],
};
const VIT = { size: { height: 224, width: 224 }, image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] };

describe('the place of a picture', () => {
  it.each([
    ['CLIP, oblong', CLIP, { height: 480, width: 641 }, { height: 224, width: 299, left: -37, top: 0 }],
    ['CLIP, upright', CLIP, { height: 300, width: 100 }, { height: 672, width: 224, left: 0, top: -224 }],
    [
      'CLIP, its older settings',
      { ...CLIP, size: 224, crop_size: 224 },
      { height: 448, width: 448 },
      { height: 224, width: 224, left: 0, top: 0 },
    ],
    [
      'DINOv2',
      { size: { shortest_edge: 256 }, do_center_crop: true, crop_size: 224 },
      { height: 256, width: 512 },
      { height: 256, width: 512, left: -144, top: -16 },
    ],
    ['ViT, whatever the form', VIT, { height: 10, width: 500 }, { height: 224, width: 224, left: 0, top: 0 }],
    [
      'cut only, from a small one',
      { ...CLIP, do_resize: false },
      { height: 100, width: 101 },
      { height: 100, width: 101, left: 62, top: 62 },
    ],
  ])('%s', (_, settings, picture, scaled) => {
    expect(placeOf(picture, settings)).toEqual({ height: 224, width: 224, scaled });
  });
});

it('values are normalised, channel by channel', () => {
  const bytes = [0, 51, 102, 255, 255, 153, 204, 0];
  const { data, shape } = valuesOf({ data: bytes, height: 1, width: 2 }, CLIP);
  expect(shape).toEqual([1, 3, 1, 2]);
  const expected = [0, 255, 51, 153, 102, 204].map((byte, i) => {
    const channel = i >> 1;
    return (byte / 255 - CLIP.image_mean[channel]!) / CLIP.image_std[channel]!;
  });
  expected.forEach((value, i) => expect(data[i]).toBeCloseTo(value, 5));
  const plain = { do_normalize: false, do_rescale: false };
  expect([...valuesOf({ data: bytes, height: 1, width: 2 }, plain).data]).toEqual([
    0, 255, 51, 153, 102, 204,
  ]);
});

const PAGE = `<!doctype html><script type="module">
  import * as example from '/pixels.mjs';
  globalThis.example = example;
</script>`;

needs('Chromium').describe('in Chromium', () => {
  it('a picture is scaled, cut and normalised', async () => {
    const browser = await launchChromium();
    const page = await browser.newPage();
    const body = readFileSync(new URL('../../examples/pictures/pixels.mjs', import.meta.url), 'utf8');
    await page.route('http://localhost/**', (route) =>
      route.request().url().endsWith('.mjs')
        ? route.fulfill({ contentType: 'text/javascript', body })
        : route.fulfill({ contentType: 'text/html', body: PAGE }),
    );
    await page.goto('http://localhost/');
    await page.waitForFunction(() => 'example' in globalThis);
    const result = await page.evaluate(async (settings) => {
      // Upright, three coloured bands; the middle is what is left after the cut.
      const canvas = new OffscreenCanvas(300, 900);
      const context = canvas.getContext('2d')!;
      ['#ff0000', '#336699', '#00ff00'].forEach((color, i) => {
        context.fillStyle = color;
        context.fillRect(0, 300 * i, 300, 300);
      });
      type Pixels = (file: Blob, settings: object) => Promise<{ data: Float32Array; shape: number[] }>;
      const { pixelValues } = (globalThis as unknown as { example: { pixelValues: Pixels } }).example;
      const { data, shape } = await pixelValues(await canvas.convertToBlob(), settings);
      return { data: [...data], shape };
    }, CLIP);
    await browser.close();
    expect(result.shape).toEqual([1, 3, 224, 224]);
    [0x33, 0x66, 0x99].forEach((byte, channel) => {
      const value = (byte / 255 - CLIP.image_mean[channel]!) / CLIP.image_std[channel]!;
      // But for the edges, which are blurred.
      for (let row = 3; row < 221; row += 7)
        expect(result.data[(channel * 224 + row) * 224 + row]).toBeCloseTo(value, 1.9);
    });
  });
});
