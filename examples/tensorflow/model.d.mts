// Types for the tests: TensorFlow.js is not a dependency of this package.
import type { Attention } from './attention.mjs';

export interface SmallModel {
  readonly weights: Record<'words' | 'places' | 'projection' | 'output', unknown>;
  readonly forward: (numbers: unknown) => unknown;
  readonly loss: (numbers: unknown) => unknown;
  readonly dispose: () => void;
}

export const DISTANCE: number;
export const makeModel: (tf: unknown, attention: Attention, length: number) => SmallModel;
export const train: (
  tf: unknown,
  model: SmallModel,
  options: { steps: number; batch: number; length: number },
) => number[];
