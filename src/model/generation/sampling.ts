export interface SamplingOptions {
  readonly temperature?: number | undefined;
}
export const SAMPLING_NAMES = { temperature: 1 } as const;
export function checkSampling(options: SamplingOptions): void {
  void options;
}
export function chooseToken(
  logits: Float32Array,
  tokens: readonly number[],
  options: SamplingOptions,
  step: number,
  row: number,
) {
  void tokens;
  void options;
  void step;
  void row;
  let token = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[token]!) token = i;
  return { token, logProbability: 0 };
}
