// Facts about the TLS of a connection, with Python's names. All are null for a connection without
// TLS, for the socket of a datagram, for a socket that the handler opened, and after `close`. A
// handler imports the interface `tls` only if it imports this module.

import * as host from 'socketserver:handler/tls@0.1.0';

// Returns `TLSv1.2` or `TLSv1.3`.
export const version = (socket) => host.version(socket.resource) ?? null;

// Returns OpenSSL's name of the cipher suite, the version of TLS that defines it, and the number of
// secret bits.
export const cipher = (socket) => host.cipher(socket.resource) ?? null;

// Returns the application protocol (ALPN) that the client and the server agreed upon.
export const selectedAlpnProtocol = (socket) => host.selectedAlpnProtocol(socket.resource) ?? null;

// Returns the client's certificate in DER, which the server has verified, or null if the client
// showed none.
export const getpeercert = (socket) => host.getpeercert(socket.resource) ?? null;

// Returns the name of the server that the client asked for (SNI), in lower case. Any client can ask
// for any name.
export const serverHostname = (socket) => host.serverHostname(socket.resource) ?? null;
