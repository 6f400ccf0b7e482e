// What a config means: its family, and the description that this makes of it. Loading asks with the names of a checkpoint; a model that
// begins with random weights has no file, and asks with the names that one would have (training/initial-weights.ts).

import { invalidArgument } from '../runtime/errors.js';
import { ConfigReader, findFamily } from './config.js';
import type { CheckpointNames, Family, GenerationDefaults, ModelDescription } from './description.js';

/** What a description comes from. */
export interface Described {
  /** What config.json holds. */
  readonly config: unknown;
  /** The families that the program knows. Default: all. */
  readonly families?: readonly Family[] | undefined;
  /** Settings to pass over. */
  readonly ignoreSettings?: readonly string[] | undefined;
  /** What generation_config.json holds. */
  readonly generationConfig?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * What makes the description once it is known which tensors there are; the config has been looked at, and its family is known.
 *
 * @throws AttentionError INVALID_ARGUMENT, UNSUPPORTED for a family or, later, a setting that this package does not know
 */
export async function describer({
  config,
  families,
  ignoreSettings = [],
  generationConfig,
}: Described): Promise<(names: CheckpointNames) => ModelDescription> {
  if (!Array.isArray(ignoreSettings) || ignoreSettings.some((name) => typeof name !== 'string'))
    throw invalidArgument('ignoreSettings', 'a list of names', ignoreSettings);
  const reader = new ConfigReader(config, ignoreSettings);
  const known = families ?? (await import('./families/all.js')).allFamilies;
  if (
    !Array.isArray(known) ||
    known.some((each: Partial<Family> | null) => typeof each?.describe !== 'function')
  )
    throw invalidArgument('families', 'a list of families', known);
  const family = findFamily(reader, known);
  return (names) => {
    const described = family.describe(reader, names);
    reader.finish();
    const generation = { ...described.generation, ...readGeneration(generationConfig) };
    return { ...described, generation: generation as never };
  };
}

/** Generation's own settings go over those of the config. */
function readGeneration(settings: Described['generationConfig']): Partial<GenerationDefaults> {
  if (settings === undefined) return {};
  const reader = new ConfigReader(settings, [], 'generationConfig');
  const endTokenIds = reader.integers('eos_token_id');
  const [decoderStartId] = reader.integers('decoder_start_token_id');
  return {
    ...(endTokenIds.length > 0 && { endTokenIds }),
    ...(decoderStartId !== undefined && { decoderStartId }),
  };
}
