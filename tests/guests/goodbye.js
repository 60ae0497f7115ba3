// Logs at the end of each step. The first byte from the client selects the step that fails:
// `s`, `h` or `f`.
import { log } from 'socketserver:handler/log@0.1.0';

let fails;

function step(initial, name) {
  try {
    log('info', name);
    if (fails === initial.charCodeAt(0)) throw name;
  } finally {
    log('info', `${name}, finally`);
  }
}

export const streamRequest = {
  setup(request, clientAddress) {
    fails = request.recv(1)[0];
    step('s', 'setup');
  },

  handle() {
    step('h', 'handle');
  },

  finish() {
    step('f', 'finish');
  },
};
