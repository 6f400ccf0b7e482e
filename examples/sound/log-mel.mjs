// Log-mel spectrograms as Whisper reads them (Radford et al. 2022). A Fourier transform of 400 samples is a product with a matrix,
// and the filters are another: the package's own products do both.

import { linear, LinearWeights, tidy } from 'wasm-attention';

export const SAMPLE_RATE = 16_000;
/** Samples of a frame, and from one frame to the next: 25 and 10 ms. */
const FRAME = 400;
const HOP = 160;
const BINS = FRAME / 2 + 1;

/** Holds two matrices: dispose it. */
export class LogMel {
  /**
   * @param {import('wasm-attention').Runtime} runtime
   * @param {{ melBins?: number, seconds?: number }} [options]  of the model's config: `num_mel_bins`; seconds that it reads at once
   */
  constructor(runtime, { melBins = 80, seconds = 30 } = {}) {
    this.runtime = runtime;
    this.melBins = melBins;
    this.samples = seconds * SAMPLE_RATE;
    this.fourier = new LinearWeights(runtime, windowedFourier());
    this.filters = new LinearWeights(runtime, melFilters(melBins));
  }

  /**
   * @param {Float32Array} samples  mono, 16 kHz; what is missing is silence, what is too much is left out
   * @returns {{ data: Float32Array, shape: number[] }} for `inputFeatures`: [1, melBins, frames]
   */
  of(samples) {
    const frames = this.samples / HOP;
    const padded = padByReflection(samples, this.samples);
    const mel = tidy(this.runtime, () => {
      const rows = this.runtime.empty([frames, FRAME]);
      for (let i = 0; i < frames; i++) rows.data.set(padded.subarray(i * HOP, i * HOP + FRAME), i * FRAME);
      const spectrum = linear(rows, this.fourier);
      const power = this.runtime.empty([frames, BINS]);
      const [from, to] = [spectrum.data, power.data]; // views: read after all allocations
      for (let i = 0; i < frames; i++) {
        const row = from.subarray(i * 2 * BINS);
        for (let k = 0; k < BINS; k++) to[i * BINS + k] = row[k] ** 2 + row[BINS + k] ** 2;
      }
      return linear(power, this.filters).toFloat32Array();
    });
    return { data: asWhisperReadsIt(mel, frames, this.melBins), shape: [1, this.melBins, frames] };
  }

  /** Frees the matrices. */
  dispose() {
    this.fourier.dispose();
    this.filters.dispose();
  }
}

/** Half a frame before and after, as in a mirror. */
function padByReflection(samples, count) {
  const half = FRAME / 2;
  const padded = new Float32Array(count + FRAME);
  padded.set(samples.subarray(0, count), half);
  for (let i = 1; i <= half; i++) {
    padded[half - i] = padded[half + i];
    padded[half + count - 1 + i] = padded[half + count - 1 - i];
  }
  return padded;
}

/** Decimal logarithms, at most 8 below the largest, about -1 to 1; a row for each bin. */
function asWhisperReadsIt(mel, frames, bins) {
  const data = new Float32Array(mel.length);
  let largest = -Infinity;
  for (let i = 0; i < frames; i++) {
    for (let bin = 0; bin < bins; bin++) {
      const value = Math.log10(Math.max(mel[i * bins + bin], 1e-10));
      data[bin * frames + i] = value;
      largest = Math.max(largest, value);
    }
  }
  return data.map((value) => (Math.max(value, largest - 8) + 4) / 4);
}

/** Cosines, then sines, under a Hann window: [2 * BINS, FRAME]. */
function windowedFourier() {
  const data = new Float32Array(2 * BINS * FRAME);
  for (let n = 0; n < FRAME; n++) {
    const window = 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / FRAME);
    for (let k = 0; k < BINS; k++) {
      const angle = (2 * Math.PI * ((k * n) % FRAME)) / FRAME;
      data[k * FRAME + n] = window * Math.cos(angle);
      data[(BINS + k) * FRAME + n] = -window * Math.sin(angle);
    }
  }
  return { data, shape: [2 * BINS, FRAME] };
}

/** Triangles that are evenly spaced on Slaney's scale, each of the same area: [bins, BINS]. */
function melFilters(bins) {
  const top = melOf(SAMPLE_RATE / 2);
  const edges = Array.from({ length: bins + 2 }, (_, i) => frequencyOf((top * i) / (bins + 1)));
  const data = new Float32Array(bins * BINS);
  for (let bin = 0; bin < bins; bin++) {
    const [low, peak, high] = edges.slice(bin, bin + 3);
    for (let k = 0; k < BINS; k++) {
      const frequency = (k * SAMPLE_RATE) / FRAME;
      const height = Math.min((frequency - low) / (peak - low), (high - frequency) / (high - peak));
      data[bin * BINS + k] = (2 / (high - low)) * Math.max(0, height);
    }
  }
  return { data, shape: [bins, BINS] };
}

/** Linear below 1 kHz, which is 15, logarithmic above. */
const PER_OCTAVE = 27 / Math.log(6.4);
const melOf = (frequency) =>
  frequency < 1000 ? (3 * frequency) / 200 : 15 + PER_OCTAVE * Math.log(frequency / 1000);
const frequencyOf = (mel) => (mel < 15 ? (200 * mel) / 3 : 1000 * Math.exp((mel - 15) / PER_OCTAVE));
