// The constants of Python's `socket` with the numbers of Linux, which the contract has. Those
// of <sys/socket.h> and <netinet/in.h> are WASI's: do not use them in their place.
#ifndef SOCKETSERVER_CONSTANTS_H
#define SOCKETSERVER_CONSTANTS_H

enum { SS_AF_UNIX = 1, SS_AF_INET = 2, SS_AF_INET6 = 10 };
enum { SS_SOCK_STREAM = 1, SS_SOCK_DGRAM = 2, SS_SOCK_RAW = 3, SS_SOCK_RDM = 4, SS_SOCK_SEQPACKET = 5 };
enum { SS_SHUT_RD = 0, SS_SHUT_WR = 1, SS_SHUT_RDWR = 2 };
enum { SS_MSG_PEEK = 0x2, SS_MSG_DONTWAIT = 0x40, SS_MSG_WAITALL = 0x100, SS_MSG_NOSIGNAL = 0x4000, SS_MSG_MORE = 0x8000 };
enum { SS_AI_PASSIVE = 1, SS_AI_NUMERICHOST = 4 };

// Levels, and the options of each. docs/src/python/socket.md says which can be set.
enum {
  SS_SOL_SOCKET = 1,
  SS_SO_REUSEADDR = 2, SS_SO_TYPE = 3, SS_SO_ERROR = 4, SS_SO_BROADCAST = 6, SS_SO_SNDBUF = 7,
  SS_SO_RCVBUF = 8, SS_SO_KEEPALIVE = 9, SS_SO_LINGER = 13, SS_SO_REUSEPORT = 15,
  SS_SO_ACCEPTCONN = 30, SS_SO_PROTOCOL = 38, SS_SO_DOMAIN = 39,
};
enum { SS_IPPROTO_IP = 0, SS_IP_TOS = 1, SS_IP_TTL = 2 };
enum { SS_IPPROTO_IPV6 = 41, SS_IPV6_V6ONLY = 26, SS_IPV6_TCLASS = 67 };
enum {
  SS_IPPROTO_TCP = 6,
  SS_TCP_NODELAY = 1, SS_TCP_MAXSEG = 2, SS_TCP_CORK = 3, SS_TCP_KEEPIDLE = 4, SS_TCP_KEEPINTVL = 5,
  SS_TCP_KEEPCNT = 6, SS_TCP_INFO = 11, SS_TCP_QUICKACK = 12, SS_TCP_USER_TIMEOUT = 18,
};

#endif
