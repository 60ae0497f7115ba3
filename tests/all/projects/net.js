import { createServer } from 'socketserver/net.js';

// The first bytes of a client choose what happens.
const modes = {
  upper(socket) {
    socket.on('data', (data) => socket.write(data.toString().toUpperCase()));
  },
  // An encoding joins the bytes of a letter that come apart.
  text(socket, events) {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (data) => (text += data));
    socket.on('end', () => socket.end(`${[...text].map((letter) => letter.codePointAt(0).toString(16))} ${typeof text} ${events}`));
  },
  hex(socket) {
    socket.setEncoding('hex');
    socket.on('data', (data) => socket.write(data));
    socket.on('end', () => socket.end('ff', 'hex'));
  },
  events(socket, events) {
    for (const name of ['end', 'finish', 'data', 'other']) socket.on(name, () => events.push(name));
    socket.once('data', () => events.push('once'));
    const gone = () => events.push('gone');
    socket.on('data', gone).off('data', gone);
    socket.write('a', () => events.push('written'));
    socket.on('end', () => {
      const { readyState, readableEnded, writableEnded, destroyed } = socket;
      const heard = [socket.emit('other', 1), socket.emit('unheard'), socket.listenerCount('data')];
      socket.end(`${events} ${heard} ${readyState} ${readableEnded} ${writableEnded} ${destroyed}`);
    });
  },
  // Nobody reads, and the end comes after the data.
  bye(socket) {
    socket.write(Uint8Array.of(0x62, 0x79));
    socket.end('e', 'latin1', () => socket.destroy());
  },
  late(socket) {
    socket.setTimeout(30, () => {
      socket.write(`late ${socket.timeout}`);
      socket.end();
    });
    socket.resume();
  },
  facts(socket) {
    const { address, family, port } = socket.address();
    const same = [socket.localAddress === address, socket.localFamily === family, socket.localPort === port];
    socket.setNoDelay().setKeepAlive(true, 5000).setTimeout(60000);
    socket.end(`${socket.remoteAddress} ${socket.remoteFamily} ${typeof socket.remotePort} ${same} ${socket.bytesRead} ${socket.isPaused()} ${socket.readyState}`);
  },
  // Both sides count what they have.
  count(socket) {
    let data = 0;
    socket.on('data', (more) => (data += more.length));
    socket.on('end', () => {
      socket.write('x'.repeat(data));
      socket.end(` ${socket.bytesRead} ${socket.bytesWritten}`);
    });
  },
};

const server = createServer((socket) => {
  socket.once('data', (data) => {
    const mode = data.toString().trim();
    // The client waits for this.
    socket.write('>');
    modes[mode](socket, []);
  });
});
server.listen(9999);

export const streamRequest = server;
