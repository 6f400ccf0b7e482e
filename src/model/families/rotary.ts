// Rotary positions of a config, in both forms: as transformers 4 writes them (rope_theta beside rope_scaling, and each family's own
// names) and as transformers 5 does (rope_parameters, for each kind of layer or for all). Touch: types of scaling; what the
// frequencies are is src/ops/rotary's business.

import type { RotaryOptions } from '../../ops/rotary/options.js';
import { logarithm } from '../../math/elementary.js';
import type { ConfigReader } from '../config.js';

type Scaling = RotaryOptions['scaling'];

interface RotaryNames {
  readonly headDim: number;
  /** What transformers 4 calls the base. */
  readonly base?: string;
  readonly defaultBase?: number;
  /** What transformers 4 calls the share of channels that are rotated, where a family has one. */
  readonly share?: string;
  readonly defaultShare?: number;
  /** The layers that are meant, where not all rotate alike. */
  readonly layerType?: 'full_attention' | 'sliding_attention';
  /** Whether rope_scaling of transformers 4 is meant for these. */
  readonly scaled?: boolean;
}

export function rotaryOf(config: ConfigReader, names: RotaryNames): RotaryOptions {
  const {
    headDim,
    base = 'rope_theta',
    defaultBase = 10000,
    share,
    defaultShare = 1,
    layerType,
    scaled = true,
  } = names;
  const written = config.section('rope_parameters');
  const own = layerType ? written?.section(layerType) : written;
  // transformers 5 leaves what transformers 4 wrote beside its own: then its own counts.
  const oldBase = config.number(base, defaultBase);
  const oldShare = share === undefined ? defaultShare : config.number(share, defaultShare);
  const scaling = own ?? (scaled ? config.section('rope_scaling') : undefined);
  const part = own?.has('partial_rotary_factor') ? own.number('partial_rotary_factor') : oldShare;
  const rotaryDim = Math.trunc(headDim * part);
  if (rotaryDim < 2 || rotaryDim % 2 !== 0 || part > 1) {
    throw (own ?? config).unsupported(
      own ? 'partial_rotary_factor' : (share ?? 'head_dim'),
      `an even number of the ${headDim} channels of a head, at least 2`,
      part,
    );
  }
  return {
    rotaryDim,
    base: own?.number('rope_theta', oldBase) ?? oldBase,
    scaling: scaling && scalingOf(scaling, config),
  };
}

const TYPES = {
  default: 'default',
  linear: 'linear',
  dynamic: 'dynamic',
  yarn: 'yarn',
  llama3: 'llama3',
} as const;

function scalingOf(settings: ConfigReader, config: ConfigReader): Scaling {
  const type = settings.choice<keyof typeof TYPES>('rope_type|type', TYPES, 'default');
  if (type === 'default') return undefined;
  const longest = (): number => config.integer('max_position_embeddings');
  const original = (fallback?: number): number =>
    settings.integer('original_max_position_embeddings', fallback);
  switch (type) {
    case 'linear':
      return { type, factor: settings.number('factor') };
    case 'dynamic':
      settings.only('original_max_position_embeddings', longest());
      return { type, factor: settings.number('factor'), originalLength: longest() };
    case 'yarn': {
      // Here the bounds of the ramp are always whole pairs.
      settings.only('truncate', true);
      const originalLength = original(longest());
      const factor = settings.number('factor', longest() / originalLength);
      return {
        type,
        factor,
        originalLength,
        betaFast: settings.optional('beta_fast'),
        betaSlow: settings.optional('beta_slow'),
        attentionFactor: settings.optional('attention_factor') ?? ratioOfScales(settings, factor),
      };
    }
    case 'llama3':
      return {
        type,
        factor: settings.number('factor'),
        originalLength: original(),
        lowFrequencyFactor: settings.number('low_freq_factor'),
        highFrequencyFactor: settings.number('high_freq_factor'),
      };
  }
}

/** YaRN's factor on cos and sin as DeepSeek writes it; only where both are given. */
function ratioOfScales(settings: ConfigReader, factor: number): number | undefined {
  const [over, under] = [settings.optional('mscale'), settings.optional('mscale_all_dim')];
  if (over === undefined || under === undefined) return undefined;
  const scale = (by: number): number => (factor <= 1 ? 1 : 0.1 * by * logarithm(factor) + 1);
  return scale(over) / scale(under);
}
