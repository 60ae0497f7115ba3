// Package network opens sockets: the functions of Python's module socket that reach beyond
// the request, and select.
//
// The operator grants addresses with --connect, --listen-grant, --resolve and --raw.
// Everything else fails with an error that is fs.ErrPermission, and the log of the host
// names the option that would permit it.
//
// A component imports the interface network of the contract only if it uses this package.
package network

import (
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"socketserver"
	"socketserver/bindings/socketserver_handler_network"
	"socketserver/bindings/socketserver_handler_sockets"
	"socketserver/bindings/socketserver_handler_types"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// CreateConnection connects to a host and a port over TCP: it looks the host up, and tries each of its addresses until one answers. Each attempt has the timeout,
// which is that of the socket then. The local address is source unless that is nil. The
// error is that of the last attempt, or a [LookupError]. Python's
// create_connection(address, timeout, source_address).
func CreateConnection(host string, port uint16, timeout time.Duration, source *socketserver.Address) (*Socket, error) {
	found, err := Getaddrinfo(host, strconv.Itoa(int(port)), 0, socketserver.SOCK_STREAM, 0, 0)
	if err != nil {
		return nil, err
	}
	err = LookupNoName
	for _, one := range found {
		var socket *Socket
		if socket, err = one.connect(timeout, source); err == nil {
			return socket, nil
		}
	}
	return nil, err
}

func (a AddressInfo) connect(timeout time.Duration, source *socketserver.Address) (*Socket, error) {
	socket, err := NewSocket(a.Family, a.Kind, a.Proto)
	if err != nil {
		return nil, err
	}
	if err = socket.Settimeout(timeout); err == nil && source != nil {
		err = socket.Bind(*source)
	}
	if err == nil {
		err = socket.Connect(a.Address)
	}
	if err != nil {
		socket.Drop()
		return nil, err
	}
	return socket, nil
}

// The flags of [Getaddrinfo], with the numbers of Linux.
const (
	// AI_PASSIVE returns addresses for Bind if there is no host.
	AI_PASSIVE int32 = 1
	// AI_NUMERICHOST looks nothing up: the host is an address.
	AI_NUMERICHOST int32 = 4
)

// AddressInfo is one result of [Getaddrinfo]: an address, and the socket for it.
type AddressInfo struct {
	Family  socketserver.AddressFamily
	Kind    socketserver.SocketKind
	Proto   int32
	Address socketserver.Address
}

// Getaddrinfo returns the addresses of a host and of a port, which is a decimal number. An
// empty host or port stands for Python's None, and a family or a kind of 0 for any. The
// flags are a sum such as [AI_PASSIVE]. The error is a [LookupError]. Python's
// getaddrinfo(host, port, family, type, proto, flags), without the canonical name.
func Getaddrinfo(host, port string, family socketserver.AddressFamily, kind socketserver.SocketKind, proto, flags int32) ([]AddressInfo, error) {
	anyFamily, anyKind := witTypes.None[uint8](), witTypes.None[uint8]()
	if family != 0 {
		binding, ok := family.Binding()
		if !ok {
			return nil, LookupFamily
		}
		anyFamily = witTypes.Some(binding)
	}
	if kind != 0 {
		binding, ok := kind.Binding()
		if !ok {
			return nil, LookupSockType
		}
		anyKind = witTypes.Some(binding)
	}
	result := socketserver.Pinned(func() witTypes.Result[
		[]socketserver_handler_network.AddressInfo,
		socketserver_handler_network.LookupError,
	] {
		return socketserver_handler_network.Getaddrinfo(
			optional(host), optional(port), anyFamily, anyKind, proto, flags)
	})
	if result.IsErr() {
		return nil, LookupError(result.Err())
	}
	var found []AddressInfo
	for _, one := range result.Ok() {
		found = append(found, AddressInfo{
			Family:  socketserver.FamilyFromBinding(one.Family),
			Kind:    socketserver.KindFromBinding(one.SocketType),
			Proto:   one.Proto,
			Address: socketserver.AddressFromBinding(one.Address),
		})
	}
	return found, nil
}

func optional(text string) witTypes.Option[string] {
	if text == "" {
		return witTypes.None[string]()
	}
	return witTypes.Some(text)
}

// Gethostbyname returns the first IPv4 address of a host. Python's
// gethostbyname(hostname).
func Gethostbyname(host string) (netip.Addr, error) {
	found, err := Getaddrinfo(host, "", socketserver.AF_INET, socketserver.SOCK_STREAM, 0, 0)
	if err != nil {
		return netip.Addr{}, err
	}
	if len(found) == 0 {
		return netip.Addr{}, LookupNoName
	}
	return found[0].Address.IP.Addr(), nil
}

// Selectable is a socket that [Select] can wait for: a *socketserver.Socket, the request
// socket among them, or a *Socket.
type Selectable interface {
	Binding() *socketserver_handler_sockets.Socket
}

// Ready has the sockets that [Select] found to be ready, by their places in its lists.
type Ready struct {
	// Readers are the sockets from which a call would not wait.
	Readers []uint32
	// Writers are the sockets to which a call would not wait.
	Writers []uint32
	// Exceptional are the sockets with an exceptional condition, such as urgent data.
	Exceptional []uint32
}

// Select waits until one of the sockets is ready, or until the timeout is over: then all
// lists are empty. With [socketserver.NoTimeout] it waits as long as the request may. A
// closed socket is net.ErrClosed, and the socket of a datagram request EOPNOTSUPP. Python's
// select.select(rlist, wlist, xlist, timeout).
func Select(readers, writers, exceptional []Selectable, timeout time.Duration) (Ready, error) {
	ready, err := socketserver.Value(socketserver.Pinned(func() witTypes.Result[
		socketserver_handler_network.Ready,
		socketserver_handler_types.ErrorCode,
	] {
		return socketserver_handler_network.Select(
			bindings(readers), bindings(writers), bindings(exceptional), socketserver.Seconds(timeout))
	}))
	return Ready{ready.Readers, ready.Writers, ready.Exceptional}, err
}

func bindings(sockets []Selectable) []*socketserver_handler_sockets.Socket {
	list := make([]*socketserver_handler_sockets.Socket, len(sockets))
	for i, socket := range sockets {
		list[i] = socket.Binding()
	}
	return list
}

// LookupError is the error of a failed lookup of a name. Each one but [LookupDenied] is a
// number of Python's exception gaierror.
type LookupError uint8

// The errors of lookups.
const (
	// LookupDenied says that the operator did not grant the name. It is fs.ErrPermission.
	LookupDenied = LookupError(socketserver_handler_network.LookupErrorDenied)
	// LookupAgain is EAI_AGAIN: the name servers did not answer in time.
	LookupAgain = LookupError(socketserver_handler_network.LookupErrorAgain)
	// LookupBadFlags is EAI_BADFLAGS.
	LookupBadFlags = LookupError(socketserver_handler_network.LookupErrorBadflags)
	// LookupFail is EAI_FAIL.
	LookupFail = LookupError(socketserver_handler_network.LookupErrorFail)
	// LookupFamily is EAI_FAMILY.
	LookupFamily = LookupError(socketserver_handler_network.LookupErrorFamily)
	// LookupMemory is EAI_MEMORY.
	LookupMemory = LookupError(socketserver_handler_network.LookupErrorMemory)
	// LookupNoName is EAI_NONAME: there is no such name, or it has no address.
	LookupNoName = LookupError(socketserver_handler_network.LookupErrorNoname)
	// LookupService is EAI_SERVICE.
	LookupService = LookupError(socketserver_handler_network.LookupErrorService)
	// LookupSockType is EAI_SOCKTYPE.
	LookupSockType = LookupError(socketserver_handler_network.LookupErrorSocktype)
	// LookupSystem is EAI_SYSTEM, or any other number.
	LookupSystem = LookupError(socketserver_handler_network.LookupErrorSystem)
)

var lookupTexts = [...]string{
	"permission denied",
	"temporary failure in name resolution",
	"bad value for ai_flags",
	"non-recoverable failure in name resolution",
	"ai_family not supported",
	"memory allocation failure",
	"name or service not known",
	"service not supported for ai_socktype",
	"ai_socktype not supported",
	"system error",
}

// Error returns the text of C's gai_strerror in lower case.
func (e LookupError) Error() string {
	if int(e) < len(lookupTexts) {
		return lookupTexts[e]
	}
	return strconv.Itoa(int(e))
}

// Unwrap returns EACCES for [LookupDenied].
func (e LookupError) Unwrap() error {
	if e == LookupDenied {
		return syscall.EACCES
	}
	return nil
}
