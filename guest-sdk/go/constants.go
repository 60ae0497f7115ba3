package socketserver

import (
	"strconv"

	"socketserver/bindings/socketserver_handler_types"
)

// AddressFamily is the family of the addresses of a socket, with the numbers of Linux.
// Python's AddressFamily.
type AddressFamily int32

// The address families.
const (
	AF_UNIX  AddressFamily = 1
	AF_INET  AddressFamily = 2
	AF_INET6 AddressFamily = 10
)

// SocketKind is the type of a socket, with the numbers of Linux. Python's SocketKind.
type SocketKind int32

// The types of sockets.
const (
	SOCK_STREAM    SocketKind = 1
	SOCK_DGRAM     SocketKind = 2
	SOCK_RAW       SocketKind = 3
	SOCK_RDM       SocketKind = 4
	SOCK_SEQPACKET SocketKind = 5
)

// The halves of a connection that [Socket.Shutdown] shuts down.
const (
	SHUT_RD   = int(socketserver_handler_types.ShutdownHowShutRd)
	SHUT_WR   = int(socketserver_handler_types.ShutdownHowShutWr)
	SHUT_RDWR = int(socketserver_handler_types.ShutdownHowShutRdwr)
)

// The flags of calls that receive and send, with the numbers of Linux.
const (
	// MSG_PEEK receives data without taking it out of the socket.
	MSG_PEEK int32 = 0x2
	// MSG_DONTWAIT fails with EAGAIN instead of waiting, unless the socket has a timeout.
	MSG_DONTWAIT int32 = 0x40
	// MSG_WAITALL waits until all bytes are there, unless the socket has a timeout.
	MSG_WAITALL int32 = 0x100
	// MSG_NOSIGNAL has no effect: no call raises a signal.
	MSG_NOSIGNAL int32 = 0x4000
	// MSG_MORE says that more data follows, so TCP may wait to fill a segment.
	MSG_MORE int32 = 0x8000
)

// The levels and the options of [Socket.Getsockopt] and [Socket.Setsockopt], with the
// numbers of Linux. docs/src/python/socket.md says which of them can be set.
const (
	SOL_SOCKET    int32 = 1
	SO_REUSEADDR  int32 = 2
	SO_TYPE       int32 = 3
	SO_ERROR      int32 = 4
	SO_BROADCAST  int32 = 6
	SO_SNDBUF     int32 = 7
	SO_RCVBUF     int32 = 8
	SO_KEEPALIVE  int32 = 9
	SO_LINGER     int32 = 13
	SO_REUSEPORT  int32 = 15
	SO_ACCEPTCONN int32 = 30
	SO_PROTOCOL   int32 = 38
	SO_DOMAIN     int32 = 39

	IPPROTO_IP int32 = 0
	IP_TOS     int32 = 1
	IP_TTL     int32 = 2

	IPPROTO_TCP      int32 = 6
	TCP_NODELAY      int32 = 1
	TCP_MAXSEG       int32 = 2
	TCP_CORK         int32 = 3
	TCP_KEEPIDLE     int32 = 4
	TCP_KEEPINTVL    int32 = 5
	TCP_KEEPCNT      int32 = 6
	TCP_INFO         int32 = 11
	TCP_QUICKACK     int32 = 12
	TCP_USER_TIMEOUT int32 = 18

	IPPROTO_IPV6 int32 = 41
	IPV6_V6ONLY  int32 = 26
	IPV6_TCLASS  int32 = 67
)

// The families and the types in the order of wit/types.wit.
var (
	families    = [...]AddressFamily{AF_INET, AF_INET6, AF_UNIX}
	familyNames = [...]string{"AF_INET", "AF_INET6", "AF_UNIX"}
	kinds       = [...]SocketKind{SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_RDM, SOCK_RAW}
	kindNames   = [...]string{"SOCK_STREAM", "SOCK_DGRAM", "SOCK_SEQPACKET", "SOCK_RDM", "SOCK_RAW"}
)

// FamilyFromBinding converts a family from the type of the generated bindings.
func FamilyFromBinding(binding socketserver_handler_types.Family) AddressFamily {
	return families[binding]
}

// Binding returns the family in the type of the generated bindings, and false if there is
// no such family.
func (f AddressFamily) Binding() (socketserver_handler_types.Family, bool) {
	return place(families[:], f)
}

// String returns Python's name of the family.
func (f AddressFamily) String() string {
	if place, ok := f.Binding(); ok {
		return familyNames[place]
	}
	return strconv.Itoa(int(f))
}

// KindFromBinding converts a type from the type of the generated bindings.
func KindFromBinding(binding socketserver_handler_types.SocketKind) SocketKind {
	return kinds[binding]
}

// Binding returns the type of a socket in the type of the generated bindings, and false
// if there is no such type.
func (k SocketKind) Binding() (socketserver_handler_types.SocketKind, bool) {
	return place(kinds[:], k)
}

// String returns Python's name of the type.
func (k SocketKind) String() string {
	if place, ok := k.Binding(); ok {
		return kindNames[place]
	}
	return strconv.Itoa(int(k))
}

func place[T comparable](all []T, one T) (uint8, bool) {
	for i := range all {
		if all[i] == one {
			return uint8(i), true
		}
	}
	return 0, false
}
