// What runs in a worker of models: the whole package and the entry of models, answering messages.

import { serve } from '../../platform/parent.js';
import { Host } from '../host.js';
import { repertoire } from './operations.js';

const host = new Host(repertoire, (answer, transfer) => parent.postMessage(answer, transfer));
const parent = serve((message) => host.receive(message));
