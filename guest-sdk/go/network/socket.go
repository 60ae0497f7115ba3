package network

import (
	"socketserver"
	"socketserver/bindings/socketserver_handler_network"
	"socketserver/bindings/socketserver_handler_sockets"
	"socketserver/bindings/socketserver_handler_types"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Socket is a socket that a handler opened. It has all methods of the request socket too. Its
// waits and its bytes count towards the limits of the request.
type Socket struct {
	*socketserver.Socket
}

// NewSocket opens a socket. The protocol is 0 for the default. A kind of sockets that the
// operator did not grant is EACCES, and more sockets than the handler may have EMFILE.
// Python's socket.socket(family, type, proto).
func NewSocket(family socketserver.AddressFamily, kind socketserver.SocketKind, proto int32) (*Socket, error) {
	familyBinding, ok := family.Binding()
	if !ok {
		return nil, socketserver.Error(socketserver_handler_types.ErrorCodeAddressFamilyNotSupported)
	}
	kindBinding, ok := kind.Binding()
	if !ok {
		return nil, socketserver.Error(socketserver_handler_types.ErrorCodeInvalidArgument)
	}
	binding, err := socketserver.Value(socketserver_handler_network.CreateSocket(familyBinding, kindBinding, proto))
	if err != nil {
		return nil, err
	}
	return wrap(binding), nil
}

// Socketpair opens two Unix sockets that are connected to each other. Python's
// socketpair(AF_UNIX, type).
func Socketpair(kind socketserver.SocketKind) (*Socket, *Socket, error) {
	binding, ok := kind.Binding()
	if !ok {
		return nil, nil, socketserver.Error(socketserver_handler_types.ErrorCodeInvalidArgument)
	}
	both, err := socketserver.Value(socketserver_handler_network.Socketpair(
		socketserver_handler_types.FamilyAfUnix, binding, 0))
	if err != nil {
		return nil, nil, err
	}
	return wrap(both.F0), wrap(both.F1), nil
}

func wrap(binding *socketserver_handler_sockets.Socket) *Socket {
	return &Socket{socketserver.SocketFromBinding(binding)}
}

// Bind gives the socket a local address. Port 0 stands for any free one. Python's
// bind(address).
func (s *Socket) Bind(address socketserver.Address) error {
	_, err := socketserver.Value(socketserver_handler_network.Bind(s.Binding(), address.Binding()))
	return err
}

// Listen lets others connect to the socket. Python's listen(backlog).
func (s *Socket) Listen(backlog int32) error {
	_, err := socketserver.Value(socketserver_handler_network.Listen(s.Binding(), backlog))
	return err
}

// Accept waits for a connection to a socket that listens, and returns it with the address
// of the other end. Python's accept().
func (s *Socket) Accept() (*Socket, socketserver.Address, error) {
	both, err := socketserver.Value(socketserver.Pinned(func() witTypes.Result[
		witTypes.Tuple2[*socketserver_handler_sockets.Socket, socketserver_handler_types.Address],
		socketserver_handler_types.ErrorCode,
	] {
		return socketserver_handler_network.Accept(s.Binding())
	}))
	if err != nil {
		return nil, socketserver.Address{}, err
	}
	return wrap(both.F0), socketserver.AddressFromBinding(both.F1), nil
}

// Connect connects the socket to an address. For a name, see [CreateConnection] and
// [Getaddrinfo]. With a timeout of 0 the error is EINPROGRESS. Python's connect(address).
func (s *Socket) Connect(address socketserver.Address) error {
	_, err := socketserver.Value(socketserver_handler_network.Connect(s.Binding(), address.Binding()))
	return err
}

// ConnectEx connects as Connect does, and returns 0, or the number of the error on Linux.
// Python's connect_ex(address).
func (s *Socket) ConnectEx(address socketserver.Address) int32 {
	return socketserver_handler_network.ConnectEx(s.Binding(), address.Binding())
}

// Drop closes the socket and gives its place back: no method may be called afterwards. A
// socket that the garbage collector finds is dropped too.
func (s *Socket) Drop() { s.Binding().Drop() }
