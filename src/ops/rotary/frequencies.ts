// The frequencies of rotary embedding, with the ways of stretching them to longer contexts. Float64 throughout.

import { checkObject, checkOptions } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import { AttentionError, invalidArgument } from '../../runtime/errors.js';
import { logarithm, power } from '../../math/elementary.js';

/** How frequencies are stretched beyond the length a model was trained with. `factor` is how many times longer. */
export type RotaryScaling =
  | {
      /** Positions divided by factor (Chen et al. 2023). */
      readonly type: 'linear';
      /** How many times longer texts may be. A number > 0. */
      readonly factor: number;
    }
  | {
      /** A larger base: base * factor^(R / (R - 2)). */
      readonly type: 'ntk';
      /** How many times longer texts may be. A number > 0. */
      readonly factor: number;
    }
  | {
      /** NTK-aware with a base that grows with the length in use, once that exceeds originalLength. */
      readonly type: 'dynamic';
      /** How many times longer texts may be. A number > 0. */
      readonly factor: number;
      /** Tokens of the texts the model was trained with. */
      readonly originalLength: number;
    }
  | {
      /**
       * YaRN (Peng et al. 2023): high frequencies kept, low ones stretched, a ramp between; cos and sin times
       * attentionFactor.
       */
      readonly type: 'yarn';
      /** How many times longer texts may be. A number > 0. */
      readonly factor: number;
      /** Tokens of the texts the model was trained with. */
      readonly originalLength: number;
      /** Turns within originalLength above which a frequency is kept. Default 32. */
      readonly betaFast?: number | undefined;
      /** Turns below which it is stretched fully. Default 1. */
      readonly betaSlow?: number | undefined;
      /** Factor on cos and sin. Default 0.1 ln(factor) + 1. */
      readonly attentionFactor?: number | undefined;
    }
  | {
      /** Llama 3.1: like YaRN by wavelength, without the factor on cos and sin. */
      readonly type: 'llama3';
      /** How many times longer texts may be. A number > 0. */
      readonly factor: number;
      /** Tokens of the texts the model was trained with. */
      readonly originalLength: number;
      /** Turns within originalLength below which a frequency is stretched fully. Default 1. */
      readonly lowFrequencyFactor?: number | undefined;
      /** Turns above which it is kept. Default 4. */
      readonly highFrequencyFactor?: number | undefined;
    };

type Scaling<Type extends RotaryScaling['type']> = Extract<RotaryScaling, { type: Type }>;

/** What each type has beside `type` and `factor`. */
const SCALING_NAMES: {
  readonly [Type in RotaryScaling['type']]?: NamesOf<Omit<Scaling<Type>, 'type' | 'factor'>>;
} = {
  linear: {},
  ntk: {},
  dynamic: { originalLength: 1 },
  yarn: { originalLength: 1, betaFast: 1, betaSlow: 1, attentionFactor: 1 },
  llama3: { originalLength: 1, lowFrequencyFactor: 1, highFrequencyFactor: 1 },
};

/** Options of `rotaryFrequencies`. */
export interface FrequencyOptions {
  /** Channels that are rotated; even. */
  readonly rotaryDim: number;
  /** Base of the frequencies (theta). Default 10000. */
  readonly base?: number | undefined;
  /** How they are stretched. Default not at all. */
  readonly scaling?: RotaryScaling | undefined;
  /** Length in use, for 'dynamic'. Default originalLength. */
  readonly length?: number | undefined;
}

const FREQUENCY_NAMES = {
  rotaryDim: 1,
  base: 1,
  scaling: 1,
  length: 1,
} satisfies NamesOf<FrequencyOptions>;

/** What rotations are made of. */
export interface RotaryFrequencies {
  /** Radians per position, one for each pair of channels. */
  readonly frequencies: Float64Array;
  /** Factor on cos and sin. */
  readonly attentionFactor: number;
}

/**
 * base^(-2i / R) for i < R / 2, scaled.
 *
 * @throws AttentionError INVALID_ARGUMENT
 * @see Su et al. 2021
 *
 * @example
 * ```js
 * const { frequencies } = rotaryFrequencies({ rotaryDim: 4, scaling: { type: 'linear', factor: 2 } });
 * frequencies; // [0.5, 0.005]
 * ```
 */
export function rotaryFrequencies(options: FrequencyOptions): RotaryFrequencies {
  // A layer's options for its rotary embedding will do.
  checkOptions(options, FREQUENCY_NAMES, { interleaved: 1 });
  return computeFrequencies(options);
}

/** @internal {@link rotaryFrequencies} of options that may have other names too. */
export function computeFrequencies(options: FrequencyOptions): RotaryFrequencies {
  const { rotaryDim, base = 10000, scaling } = options;
  if (!Number.isInteger(rotaryDim) || rotaryDim < 2 || rotaryDim % 2 !== 0 || rotaryDim > 65536) {
    throw invalid('rotaryDim', 'an even integer from 2 to 65536', rotaryDim);
  }
  checkPositive('base', base);
  if (scaling === undefined) return plain(rotaryDim, base);
  checkObject('scaling', scaling);
  const more = SCALING_NAMES[scaling.type];
  if (more) checkOptions(scaling, { type: 1, factor: 1 }, more, 'scaling');
  checkPositive('scaling.factor', scaling.factor);
  switch (scaling.type) {
    case 'linear':
      return {
        frequencies: plain(rotaryDim, base).frequencies.map((f) => f / scaling.factor),
        attentionFactor: 1,
      };
    case 'ntk':
      return plain(rotaryDim, stretchedBase(base, scaling.factor, rotaryDim));
    case 'dynamic':
      return dynamic(rotaryDim, base, scaling, options.length);
    case 'yarn':
      return yarn(rotaryDim, base, scaling);
    case 'llama3':
      return llama3(rotaryDim, base, scaling);
    default:
      throw invalid(
        'scaling.type',
        "'linear', 'ntk', 'dynamic', 'yarn' or 'llama3'",
        (scaling as { type: unknown }).type,
      );
  }
}

function plain(rotaryDim: number, base: number): RotaryFrequencies {
  const frequencies = Float64Array.from({ length: rotaryDim / 2 }, (_, i) =>
    power(base, (-2 * i) / rotaryDim),
  );
  return { frequencies, attentionFactor: 1 };
}

function stretchedBase(base: number, factor: number, rotaryDim: number): number {
  return rotaryDim === 2 ? base : base * power(factor, rotaryDim / (rotaryDim - 2));
}

function dynamic(
  rotaryDim: number,
  base: number,
  scaling: Scaling<'dynamic'>,
  length?: number,
): RotaryFrequencies {
  const { factor, originalLength } = scaling;
  checkPositive('scaling.originalLength', originalLength);
  const inUse = Math.max(length ?? originalLength, originalLength);
  return plain(rotaryDim, stretchedBase(base, (factor * inUse) / originalLength - (factor - 1), rotaryDim));
}

function yarn(rotaryDim: number, base: number, scaling: Scaling<'yarn'>): RotaryFrequencies {
  const { factor, originalLength, betaFast = 32, betaSlow = 1 } = scaling;
  checkPositive('scaling.originalLength', originalLength);
  // The pair that turns `turns` times within the original length.
  const pairOf = (turns: number): number =>
    (rotaryDim * logarithm(originalLength / (turns * 2 * Math.PI))) / (2 * logarithm(base));
  const low = Math.max(Math.floor(pairOf(betaFast)), 0);
  const high = Math.min(Math.ceil(pairOf(betaSlow)), rotaryDim - 1);
  const frequencies = plain(rotaryDim, base).frequencies.map((frequency, i) => {
    const ramp = Math.min(Math.max((i - low) / Math.max(high - low, 0.001), 0), 1);
    return (frequency / factor) * ramp + frequency * (1 - ramp);
  });
  const usual = factor <= 1 ? 1 : 0.1 * logarithm(factor) + 1;
  return { frequencies, attentionFactor: scaling.attentionFactor ?? usual };
}

function llama3(rotaryDim: number, base: number, scaling: Scaling<'llama3'>): RotaryFrequencies {
  const { factor, originalLength, lowFrequencyFactor = 1, highFrequencyFactor = 4 } = scaling;
  checkPositive('scaling.originalLength', originalLength);
  const frequencies = plain(rotaryDim, base).frequencies.map((frequency) => {
    const turns = (originalLength * frequency) / (2 * Math.PI);
    const share = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
    const kept = Math.min(Math.max(share, 0), 1);
    return (1 - kept) * (frequency / factor) + kept * frequency;
  });
  return { frequencies, attentionFactor: 1 };
}

function checkPositive(argument: string, value: unknown): void {
  if (typeof value === 'number' && Number.isFinite(value) && value > 0) return;
  throw invalid(argument, 'a finite number > 0', value);
}

function invalid(argument: string, expected: string, received: unknown): AttentionError {
  return invalidArgument(argument, expected, received);
}
