// A range encoder: the other half of assembly/range-decoder.ts. The cheapest way through copies and bytes by estimated prices, as
// decisions under learnt probabilities, as the digits of one number.

/** Most places with the same three bytes that are looked at, and the longest copy. */
const PLACES = 3000;
const LONGEST = 4000;

/** Bits that things take, about; tried for what makes the kernels smallest. */
const PRICE = {
  byte: 6,
  copyAgain: (length) => 3 + 1.4 * Math.log2(length),
  copy: (length, distance) => 7.5 + 1.4 * Math.log2(length) + 1.1 * Math.log2(distance),
};

/** The digits, a byte each, of which assembly/range-decoder.ts makes the bytes again. */
export function encode(bytes) {
  const { write, end } = digits();
  const learnt = new Map();
  for (const { place, answer } of decisions(bytes, cheapestSteps(bytes))) {
    const { expected, seen } = learnt.get(place) ?? { expected: 2048, seen: 0 };
    write(expected, answer);
    const change = ((answer ? 4072 : 24) - expected) >> (32 - Math.clz32(seen + 1));
    learnt.set(place, { expected: expected + change, seen: Math.min(seen + 1, 7) });
  }
  return end();
}

/** The cheapest steps { length, distance } from begin to end; of distance 0 for a byte of its own. */
function cheapestSteps(bytes) {
  const earlier = earlierPlaces(bytes);
  const ways = Array.from({ length: bytes.length + 1 }, () => ({
    price: Infinity,
    length: 0,
    distance: 0,
    last: 0,
  }));
  ways[0].price = 0;
  for (let at = 0; at < bytes.length; at++) {
    const { price, last } = ways[at];
    const offer = (length, distance, more) => {
      const way = ways[at + length];
      if (price + more < way.price)
        Object.assign(way, { price: price + more, length, distance, last: distance || last });
    };
    offer(1, 0, PRICE.byte);
    for (let length = last && same(bytes, at, at - last); length > 0; length--) {
      offer(length, last, PRICE.copyAgain(length));
    }
    let longest = 2;
    for (
      let place = earlier[at], looked = 0;
      place >= 0 && looked < PLACES;
      place = earlier[place], looked++
    ) {
      const length = same(bytes, at, place);
      while (longest < length) offer(++longest, at - place, PRICE.copy(longest, at - place));
    }
  }
  const steps = [];
  for (let at = bytes.length; at > 0; at -= ways[at].length) steps.push(ways[at]);
  return steps.reverse();
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

/** The decisions of the decoder in its order, each with the place of its probability: mirrors it line by line. */
function decisions(bytes, steps) {
  const made = [];
  const decide = (place, answer) => made.push({ place, answer });
  const number = (kind, value) => {
    const size = 31 - Math.clz32(value);
    for (let bit = 4; bit > 0; bit--) decide(kind + ((16 + size) >> bit), (size >> (bit - 1)) & 1);
    for (let bit = size; bit > 0; bit--) {
      const upper = value >> bit;
      decide(kind + 64 * size + (upper < 16 ? 16 + upper : 32 + bit), (value >> (bit - 1)) & 1);
    }
  };
  let at = 0;
  let last = 0;
  let copied = 0;
  let opcode = 0;
  let left = 0;
  for (const { length, distance } of steps) {
    const place = 8192 + ((4 * opcode + left) << 8);
    decide(place, +(distance > 0));
    if (distance > 0) {
      const elsewhere = +(distance !== last);
      decide(copied, elsewhere);
      if (elsewhere) number(2048, distance);
      last = distance;
      copied = 1 + elsewhere;
      number(2048 * (1 + copied), length);
    } else {
      copied = 0;
      const node = 256 + bytes[at];
      for (let bit = 8; bit > 0; bit--) decide(place + (node >> bit), (node >> (bit - 1)) & 1);
    }
    for (const end = at + length; at < end; at++) {
      const byte = bytes[at];
      if (left === 0) {
        opcode = byte;
        left = operands(byte);
      } else {
        if (byte < 128) left--;
        if (opcode > 0xfc) opcode = 256 + ((opcode + byte) & 255);
      }
    }
  }
  return made;
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
