import type { ConfigReader } from '../config.js';
import type { Family } from '../description.js';
export function findFamily(config: ConfigReader, families: readonly Family[]): Family {
  return config.choice('model_type', Object.fromEntries(families.flatMap((f) => f.modelTypes.map((t) => [t, f]))));
}
