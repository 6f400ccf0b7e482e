// A range encoder: the other half of assembly/range-decoder.ts. The cheapest way through copies and bytes, as decisions under
// learnt probabilities, as the digits of one number. What decisions cost is known when a way was chosen: the first way is
// chosen by estimates, each further one by what the decisions of the way before it cost. What is encoded may continue something
// else: it copies from that, and begins with what was learnt there.

/** Most places with the same three bytes that are looked at, the longest copy, and the longest that is also tried shorter. */
const PLACES = 3000;
const LONGEST = 4000;
const CUT = 40;
/** The farthest place that is copied from: what the decoder's memory has room for. */
const FARTHEST = 2 ** 20 - 1;
/** Ways that are tried: later ones save less than a byte in a thousand. */
const WAYS = 6;

/** Bits that things take, about. */
const ESTIMATE = {
  byte: () => 6,
  copyAgain: (_, length) => 3 + 1.4 * Math.log2(length),
  copy: (_, length, distance) => 7.5 + 1.4 * Math.log2(length) + 1.1 * Math.log2(distance),
};

/** Where nothing was encoded before. */
export const NOTHING = { digits: Buffer.alloc(0), bytes: Buffer.alloc(0), learnt: new Map() };

/**
 * The digits, a byte each, of which assembly/range-decoder.ts makes the bytes again.
 *
 * @param bytes   what to encode
 * @param earlier what `encode` gave for the bytes that the decoder has decoded just before these
 * @returns { digits, bytes: all until here, learnt: what the decoder knows then }
 */
export function encode(bytes, earlier = NOTHING) {
  const all = Buffer.concat([earlier.bytes, bytes]);
  const from = earlier.bytes.length;
  const instructions = instructionsOf(all, from);
  const copies = copiesOf(all, from);
  let shortest;
  let prices = ESTIMATE;
  for (let way = 0; way < WAYS; way++) {
    const made = decisions(all, from, instructions, cheapestSteps(all, from, copies, prices));
    const encoded = digitsOf(made, earlier.learnt);
    if (!shortest || encoded.digits.length < shortest.digits.length) shortest = encoded;
    prices = pricesOf(made, all, instructions);
  }
  return { ...shortest, bytes: all };
}

function digitsOf(made, earlier) {
  const { write, end } = digits();
  const learnt = new Map(earlier);
  for (const { place, answer } of made) {
    const { expected, seen } = learnt.get(place) ?? { expected: 2048, seen: 0 };
    write(expected, answer);
    const change = ((answer ? 4072 : 24) - expected) >> (32 - Math.clz32(seen + 1));
    learnt.set(place, { expected: expected + change, seen: Math.min(seen + 1, 7) });
  }
  return { digits: end(), learnt };
}

/** Bits that steps take if each decision costs what it did on average at its place. */
function pricesOf(made, bytes, instructions) {
  const counts = new Map();
  for (const { place, answer } of made) {
    const count = counts.get(place) ?? [0.4, 0.4];
    count[answer]++;
    counts.set(place, count);
  }
  const bits = (place, answer) => {
    const count = counts.get(place);
    return count ? Math.log2((count[0] + count[1]) / count[answer]) : 1;
  };
  const known = new Map();
  const numberBits = (kind, value) => {
    const key = kind * 2 ** 20 + value;
    let sum = known.get(key);
    if (sum === undefined) {
      sum = 0;
      decideNumber(kind, value, (place, answer) => (sum += bits(place, answer)));
      known.set(key, sum);
    }
    return sum;
  };
  const copyBits = (at, copied, elsewhere) => bits(instructions[at], 1) + bits(copied, elsewhere);
  return {
    byte(at) {
      let sum = bits(instructions[at], 0);
      decideByte(instructions[at], bytes[at], (place, answer) => (sum += bits(place, answer)));
      return sum;
    },
    copyAgain: (at, length, _, copied) => copyBits(at, copied, 0) + numberBits(NUMBERS * 2, length),
    copy: (at, length, distance, copied) =>
      copyBits(at, copied, 1) + numberBits(NUMBERS, distance) + numberBits(NUMBERS * 3, length),
  };
}

/** The cheapest steps { length, distance } to the end; of distance 0 for a byte of its own. */
function cheapestSteps(bytes, from, copies, prices) {
  const ways = Array.from({ length: bytes.length + 1 }, () => ({
    price: Infinity,
    length: 0,
    distance: 0,
    last: 0,
    copied: 0,
  }));
  ways[from].price = 0;
  for (let at = from; at < bytes.length; at++) {
    const { price, last, copied } = ways[at];
    const offer = (length, distance, more) => {
      const way = ways[at + length];
      if (price + more >= way.price) return;
      const next = distance ? 1 + +(distance !== last) : 0;
      Object.assign(way, { price: price + more, length, distance, last: distance || last, copied: next });
    };
    offer(1, 0, prices.byte(at));
    for (const length of lengths(1, last && same(bytes, at, at - last))) {
      offer(length, last, prices.copyAgain(at, length, last, copied));
    }
    for (const { distance, shortest, longest } of copies[at]) {
      for (const length of lengths(shortest, longest))
        offer(length, distance, prices.copy(at, length, distance, copied));
    }
  }
  const steps = [];
  for (let at = bytes.length; at > from; at -= ways[at].length) steps.push(ways[at]);
  return steps.reverse();
}

function* lengths(from, to) {
  for (let length = from; length < Math.min(to, CUT); length++) yield length;
  if (to >= from) yield to;
}

/** For every place, the lengths that can be copied there, each from the nearest place: { distance, shortest, longest }. */
function copiesOf(bytes, from) {
  const earlier = earlierPlaces(bytes);
  return Array.from(bytes, (_, at) => {
    const copies = [];
    if (at < from) return copies;
    let longest = 2;
    for (
      let place = earlier[at], looked = 0;
      place >= 0 && at - place <= FARTHEST && looked < PLACES;
      place = earlier[place], looked++
    ) {
      const length = same(bytes, at, place);
      if (length > longest) copies.push({ distance: at - place, shortest: longest + 1, longest: length });
      longest = Math.max(longest, length);
    }
    return copies;
  });
}

/** For every place the nearest before it with the same three bytes, or -1. */
function earlierPlaces(bytes) {
  const last = new Map();
  return Array.from(bytes, (_, at) => {
    const key = bytes.subarray(at, at + 3).toString('latin1');
    const place = last.get(key) ?? -1;
    last.set(key, at);
    return place;
  });
}

/** How many bytes are the same from two places on. */
function same(bytes, at, place) {
  let length = 0;
  while (length < LONGEST && at + length < bytes.length && bytes[at + length] === bytes[place + length])
    length++;
  return length;
}

/** Where probabilities are, as in the decoder. */
const NUMBERS = 2048;
const BYTES = 4 * NUMBERS;

/** The decisions of the decoder in its order, each with the place of its probability: mirrors it line by line. */
function decisions(bytes, from, instructions, steps) {
  const made = [];
  const decide = (place, answer) => made.push({ place, answer });
  let at = from;
  let last = 0;
  let copied = 0;
  for (const { length, distance } of steps) {
    const place = instructions[at];
    decide(place, +(distance > 0));
    if (distance > 0) {
      const elsewhere = +(distance !== last);
      decide(copied, elsewhere);
      if (elsewhere) decideNumber(NUMBERS, distance, decide);
      last = distance;
      copied = 1 + elsewhere;
      decideNumber(NUMBERS * (1 + copied), length, decide);
    } else {
      copied = 0;
      decideByte(place, bytes[at], decide);
    }
    at += length;
  }
  return made;
}

function decideNumber(kind, value, decide) {
  const size = 31 - Math.clz32(value);
  for (let bit = 5; bit > 0; bit--) decide(kind + ((32 + size) >> bit), (size >> (bit - 1)) & 1);
  for (let bit = size; bit > 0; bit--) {
    const upper = value >> bit;
    decide(kind + 64 * size + (upper < 16 ? 16 + upper : 32 + bit), (value >> (bit - 1)) & 1);
  }
}

function decideByte(place, byte, decide) {
  const node = 256 + byte;
  for (let bit = 8; bit > 0; bit--) decide(place + (node >> bit), (node >> (bit - 1)) & 1);
}

/** For every byte the place of what is learnt of the instruction it belongs to, and of the operand it is. */
function instructionsOf(bytes, from) {
  let opcode = 0;
  let left = 0;
  return Array.from(bytes, (byte, at) => {
    if (at === from) opcode = left = 0;
    const place = BYTES + ((4 * opcode + left) << 8);
    if (left === 0) {
      opcode = byte;
      left = operands(byte);
    } else {
      if (byte < 128) left--;
      if (opcode > 0xfc) opcode = 256 + ((opcode + byte) & 255);
    }
    return place;
  });
}

function operands(opcode) {
  if (opcode === 0x43) return 4;
  if (opcode > 0x27 && opcode < 0x3f) return 2;
  if (opcode === 0xfd || opcode === 0x41 || opcode === 0x10 || (opcode & 0xf8) === 0x20) return 1;
  return +(opcode > 1 && opcode < 14 && opcode !== 11);
}

/** Writes decisions as digits of 8 bits. */
function digits() {
  const written = [];
  let low = 0; // below 2 ** 32; the next digit counts 2 ** 24
  let range = 1;
  const shift = () => {
    written.push(Math.floor(low / 2 ** 24));
    low = (low % 2 ** 24) * 256;
  };
  return {
    write(expected, answer) {
      for (; range < 1 << 22; range <<= 8) shift();
      const bound = (range >> 12) * expected;
      if (!answer) low += bound;
      range = answer ? bound : range - bound;
      if (low < 2 ** 32) return;
      low -= 2 ** 32;
      let carry = written.length - 1;
      while (written[carry] === 255) written[carry--] = 0;
      written[carry]++;
    },
    end() {
      for (let i = 0; i < 4; i++) shift();
      return Buffer.from(written.slice(4)); // the first are zeros: nothing was written yet
    },
  };
}
