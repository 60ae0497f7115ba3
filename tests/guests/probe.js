// Answers a word of the client with what the handler gets of the host.
let request;

const answers = {
  random: () => `${Math.random()} ${Math.random()}`,
  time: () => `${Date.now()}`,
  log: () => {
    console.log('printed', { a: [1] });
    console.error('an error');
    return 'done';
  },
};

const bytes = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

export const streamRequest = {
  setup(socket, clientAddress) {
    request = socket;
  },

  handle() {
    const word = String.fromCharCode(...request.recv(1024));
    request.sendall(bytes(answers[word]()));
  },

  finish() {},
};
