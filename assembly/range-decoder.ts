// A range decoder: the other half of scripts/range-encoder.mjs, which must mirror it line by line. The embedded builds are parts
// of what came before, or bytes of their own, all of it as yes-or-no decisions under probabilities that are learnt on the way
// (the family of LZMA). Made for WebAssembly: a byte is predicted from the instruction that it belongs to. A module of its own,
// because it runs before the kernels are there, once: hence the globals. What it saves and costs is in docs/kernels.md.

/** Places of the probabilities: of "another distance" from 0; of three kinds of numbers; of "a copy" and bytes by instruction. */
const NUMBERS: u32 = 2048;
const BYTES: u32 = 4 * NUMBERS;
const PLACES: u32 = BYTES + (512 << 10);

/** Where what was learnt of a place is, 2 bytes: the expected cases of 1 in 4096 << 4 | how often it was seen, 7 at most. */
const LEARNT: usize = 0;
/** What memory full of zeros stands for: 2048 in 4096, never seen. */
const UNSEEN: u32 = 2048 << 4;

let digits: usize = 0;
let range: u32 = 1;
let value: u32 = 0;

/** Where digits may be put: after what is learnt. */
export function start(): usize {
  return LEARNT + PLACES * 2;
}

/**
 * Decodes `length` bytes to `target`, from the digits at `from`. What a call before it has decoded may be continued: the bytes
 * stand before `target`, and what was learnt stands.
 */
export function decode(from: usize, target: usize, length: usize): void {
  digits = from;
  range = 1;
  value = 0;
  const end = target + length;
  let at = target;
  let distance: u32 = 0;
  let copied: u32 = 0;
  let opcode: u32 = 0;
  let left: u32 = 0; // operands of the opcode
  while (at < end) {
    let rest: u32 = 1;
    const place = BYTES + ((4 * opcode + left) << 8);
    const copies = decision(place);
    if (copies) {
      const elsewhere = decision(copied);
      if (elsewhere) distance = number(NUMBERS);
      copied = 1 + elsewhere;
      rest = number(NUMBERS * (1 + copied));
    } else {
      copied = 0;
      let node: u32 = 1;
      while (node < 256) node = 2 * node + decision(place + node);
      store<u8>(at, node);
    }
    for (; rest > 0 && at < end; rest--, at++) {
      if (copies) store<u8>(at, load<u8>(at - distance));
      const byte: u32 = load<u8>(at);
      if (left == 0) {
        opcode = byte;
        left = operands(byte);
      } else {
        if (byte < 128) left--;
        if (opcode > 0xfc) opcode = 256 + ((opcode + byte) & 255);
      }
    }
  }
}

/** Bytes that follow an opcode, as far as kernels use it; a wrong answer only makes for worse guesses. */
function operands(opcode: u32): u32 {
  if (opcode == 0x43) return 4;
  if (opcode > 0x27 && opcode < 0x3f) return 2;
  if (opcode == 0xfd || opcode == 0x41 || opcode == 0x10 || (opcode & 0xf8) == 0x20) return 1;
  return u32(opcode > 1 && opcode < 14 && opcode != 11);
}

/** How many bits a number has, less one; then the bits, the upper ones learnt together, the others each for itself. */
function number(kind: u32): u32 {
  let size: u32 = 1;
  while (size < 32) size = 2 * size + decision(kind + size);
  size -= 32;
  let value: u32 = 1;
  for (let bit = size; bit > 0; bit--) {
    value = 2 * value + decision(kind + 64 * size + (value < 16 ? 16 + value : 32 + bit));
  }
  return value;
}

/** The next decision, 0 or 1: which part of the range the digits point into. */
function decision(place: u32): u32 {
  for (; range < 1 << 22; range <<= 8) value = (value << 8) | load<u8>(digits++);
  const address = LEARNT + place * 2;
  const known = load<u16>(address) ^ UNSEEN;
  const expected = known >> 4;
  const seen = known & 15;
  const bound = (range >> 12) * expected;
  const answer = u32(value < bound);
  if (answer) range = bound;
  else {
    value -= bound;
    range -= bound;
  }
  store<u16>(address, learn(known, answer) ^ UNSEEN);
  return answer;
}

/** What is known after an answer: the less often a place was seen, the more it learns. */
function learn(known: u32, answer: u32): u32 {
  const expected: i32 = known >> 4;
  const seen: i32 = known & 15;
  const aim = answer ? 4072 : 24;
  return u32(expected + ((aim - expected) >> (32 - clz(seen + 1)))) << 4 | min(seen + 1, 7);
}
