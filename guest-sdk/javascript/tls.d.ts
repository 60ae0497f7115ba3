// The types of `tls.js`, which has the comments.

import type { Socket } from './socketserver.js';

/** Returns `TLSv1.2` or `TLSv1.3`, or null without TLS. */
export function version(socket: Socket): string | null;

/** Returns the name of the cipher suite, the version of TLS that defines it, and the secret bits. */
export function cipher(socket: Socket): [name: string, protocol: string, secretBits: number] | null;

/** Returns the application protocol (ALPN) that was agreed upon. */
export function selectedAlpnProtocol(socket: Socket): string | null;

/** Returns the client's certificate in DER, which the server has verified. */
export function getpeercert(socket: Socket): Uint8Array | null;

/** Returns the name of the server that the client asked for (SNI), in lower case. */
export function serverHostname(socket: Socket): string | null;
