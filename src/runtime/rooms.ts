// Memory that the steps of a call use one after the other: each overwrites what the one before has left there.

import type { CallScope } from './call-scope.js';
import type { Tensor } from './tensor.js';

const rooms = new WeakMap<CallScope, Map<string, Tensor<'float32'>>>();

/** So many floats at least, which the next one to ask for that name gets too. */
export function roomFor(scope: CallScope, name: string, floats: number): Tensor<'float32'> {
  const known = rooms.get(scope) ?? new Map<string, Tensor<'float32'>>();
  rooms.set(scope, known);
  let room = known.get(name);
  if (!room || room.size < floats) {
    room = scope.temporary([floats]);
    known.set(name, room);
  }
  return room;
}
