// What runs in a worker: the whole package, answering messages. Loaded as a Web Worker (classic or module) or by
// node:worker_threads.

import { serve } from '../platform/parent.js';
import { Host } from './host.js';
import { repertoire } from './operations.js';

const host = new Host(repertoire, (answer, transfer) => parent.postMessage(answer, transfer));
const parent = serve((message) => host.receive(message));
