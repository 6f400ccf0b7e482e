// A peer that copies, as it should.
export default {
  name: 'good',
  version: async () => '1',
  available: async () => true,
  variants: () => ['slow', 'fast'],
  prepare: async (workload, { x }, variant) => ({
    run() {
      if (variant === 'slow') for (const end = performance.now() + 5; performance.now() < end;);
      return x.slice();
    },
    dispose() {},
  }),
};
