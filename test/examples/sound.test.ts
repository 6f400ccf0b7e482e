// examples/sound: spectrograms against a slow float64 transform that is written differently; a file of sound in Chromium.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { LogMel } from '../../examples/sound/log-mel.mjs';
import { launchChromium } from '../support/browser.mjs';
import { needs } from '../support/needs.js';
import { readFileSync } from 'node:fs';

const RATE = 16_000;
let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime();
});
afterAll(() => {
  const { used } = runtime.memory;
  runtime.dispose();
  expect(used).toBe(0);
});

/** One frame of the spectrogram before logarithms, from the definition: samples at a distance from its middle, Hann window, triangles. */
function melOfFrame(sampleAt: (i: number) => number, middle: number, bins: number): number[] {
  const power = Array.from({ length: 201 }, (_, k) => {
    let [re, im] = [0, 0];
    for (let n = -200; n < 200; n++) {
      const windowed = sampleAt(middle + n) * Math.cos((Math.PI * n) / 400) ** 2;
      re += windowed * Math.cos((2 * Math.PI * k * n) / 400);
      im += windowed * Math.sin((2 * Math.PI * k * n) / 400);
    }
    return re * re + im * im;
  });
  // 3 mel for each 200 Hz up to 1 kHz, then 27 for each factor of 6.4.
  const step = (15 + (27 * Math.log(8)) / Math.log(6.4)) / (bins + 1);
  const hertz = (i: number) => (i * step < 15 ? (i * step * 200) / 3 : 1000 * 6.4 ** ((i * step - 15) / 27));
  return Array.from({ length: bins }, (_, bin) => {
    const [low, peak, high] = [hertz(bin), hertz(bin + 1), hertz(bin + 2)];
    return power.reduce((sum, value, k) => {
      const f = 40 * k;
      if (f <= low || f >= high) return sum;
      const height = f < peak ? (f - low) / (peak - low) : (high - f) / (high - peak);
      return sum + (value * height * 2) / (high - low);
    }, 0);
  });
}

function expectedSpectrogram(samples: Float32Array, count: number, bins: number): number[][] {
  const sampleAt = (i: number) => {
    const mirrored = i < 0 ? -i : i >= count ? 2 * (count - 1) - i : i;
    return samples[mirrored] ?? 0;
  };
  const mel = Array.from({ length: count / 160 }, (_, frame) => melOfFrame(sampleAt, frame * 160, bins));
  const logs = mel.map((frame) => frame.map((value) => Math.log10(Math.max(1e-10, value))));
  const largest = Math.max(...logs.flat());
  return logs.map((frame) => frame.map((value) => (Math.max(value, largest - 8) + 4) / 4));
}

it.each([
  [80, 0.4],
  [128, 0.4],
  [80, 0.9], // longer than what is read
])('%d bins of %d s', (melBins, seconds) => {
  const samples = Float32Array.from({ length: seconds * RATE }, (_, i) => {
    const t = i / RATE;
    return 0.5 * Math.sin(2 * Math.PI * (200 + 2500 * t) * t) + 0.1 * Math.sin(i * i) + 0.02;
  });
  const logMel = new LogMel(runtime, { melBins, seconds: 0.5 });
  const { data, shape } = logMel.of(samples);
  logMel.dispose();
  expect(shape).toEqual([1, melBins, 50]);
  const expected = expectedSpectrogram(samples.subarray(0, 8000), 8000, melBins);
  let most = 0;
  expected.forEach((frame, i) =>
    frame.forEach((value, bin) => (most = Math.max(most, Math.abs(value - data[bin * 50 + i]!)))),
  );
  expect(most).toBeLessThan(1e-4);
  expect(Math.max(...data) - Math.min(...data)).toBeGreaterThan(0.5);
});

it('silence is the same everywhere, and half a minute is 3000 frames', () => {
  const logMel = new LogMel(runtime);
  const { data, shape } = logMel.of(new Float32Array(0));
  expect(shape).toEqual([1, 80, 3000]);
  expect(new Set(data)).toEqual(new Set([-1.5]));
  logMel.dispose();
});

const PAGE = `<!doctype html><script type="module">
  import * as example from '/samples.mjs';
  globalThis.example = example;
</script>`;

needs('Chromium').describe('in Chromium', () => {
  it('a file becomes samples of 16 kHz, mono', async () => {
    const browser = await launchChromium();
    const page = await browser.newPage();
    const example = (name: string) =>
      readFileSync(new URL(`../../examples/sound/${name}`, import.meta.url), 'utf8');
    await page.route('http://localhost/**', (route) => {
      const { pathname } = new URL(route.request().url());
      if (pathname === '/') return route.fulfill({ contentType: 'text/html', body: PAGE });
      const body = pathname === '/samples.mjs' ? example('samples.mjs') : 'export const SAMPLE_RATE = 16000;';
      return route.fulfill({ contentType: 'text/javascript', body });
    });
    await page.goto('http://localhost/');
    await page.waitForFunction(() => 'example' in globalThis);
    const samples = await page.evaluate(async () => {
      // A WAV file: stereo, 48 kHz, 16 bits, half a second of two tones.
      const [rate, frames] = [48_000, 24_000];
      const view = new DataView(new ArrayBuffer(44 + 4 * frames));
      const text = (at: number, letters: string) =>
        [...letters].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
      text(0, 'RIFF');
      view.setUint32(4, view.byteLength - 8, true);
      text(8, 'WAVEfmt ');
      view.setUint32(16, 16, true);
      view.setUint16(20, 1, true);
      view.setUint16(22, 2, true);
      view.setUint32(24, rate, true);
      view.setUint32(28, 4 * rate, true);
      view.setUint16(32, 4, true);
      view.setUint16(34, 16, true);
      text(36, 'data');
      view.setUint32(40, 4 * frames, true);
      for (let i = 0; i < frames; i++) {
        view.setInt16(44 + 4 * i, 16_000 * Math.sin((2 * Math.PI * 440 * i) / rate), true);
        view.setInt16(46 + 4 * i, 16_000 * Math.sin((2 * Math.PI * 660 * i) / rate), true);
      }
      type Samples = (file: Blob) => Promise<Float32Array>;
      const { samplesOf } = (globalThis as unknown as { example: { samplesOf: Samples } }).example;
      return Array.from(await samplesOf(new Blob([view])));
    });
    await browser.close();
    expect(samples.length).toBe(8000);
    const tone = (f: number, i: number) => Math.sin((2 * Math.PI * f * i) / RATE);
    const wanted = samples.map((_, i) => ((16_000 / 32_768) * (tone(440, i) + tone(660, i))) / 2);
    // The filter of the browser is at work at both ends.
    const differences = samples.slice(200, -200).map((sample, i) => Math.abs(sample - wanted[i + 200]!));
    expect(Math.max(...differences)).toBeLessThan(0.01);
  });
});
