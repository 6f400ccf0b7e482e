// A peer that throws in one way and has no function in the other.
export default {
  name: 'throw',
  version: async () => '1',
  available: async () => true,
  variants: () => ['none', 'throws'],
  async prepare(workload, inputs, variant) {
    if (variant === 'none') return null;
    throw new RangeError('too large for it');
  },
};
