// A peer whose last number is wrong.
export default {
  name: 'wrong',
  version: async () => '1',
  available: async () => true,
  variants: () => [''],
  prepare: async (workload, { x }) => ({
    run: () => x.slice().fill(5, x.length - 1),
    dispose() {},
  }),
};
