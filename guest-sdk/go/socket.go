package socketserver

import (
	"bytes"
	"math"
	"time"

	"socketserver/bindings/socketserver_handler_sockets"
	"socketserver/bindings/socketserver_handler_types"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Socket is the request socket, Python's self.request, or a socket that the package
// socketserver/network opened. The host closes the connection of the request after Finish.
//
// It has Python's methods, and those of net.Conn that need no address. The package
// socketserver/netconn makes a net.Conn of it. An error is an [Error].
//
// Go's scheduler cannot run while a call waits for the host: all goroutines wait. To wait
// for several sockets, call Select of the package socketserver/network.
type Socket struct {
	binding       *socketserver_handler_sockets.Socket
	readDeadline  time.Time
	writeDeadline time.Time
}

// SocketFromBinding returns a socket of the generated bindings as a Socket.
func SocketFromBinding(binding *socketserver_handler_sockets.Socket) *Socket {
	return &Socket{binding: binding}
}

// Binding returns the socket in the type of the generated bindings.
func (s *Socket) Binding() *socketserver_handler_sockets.Socket { return s.binding }

// Recv waits for data and returns at most bufsize bytes of it. The result is empty,
// without an error, if the other end has finished sending. Python's recv(bufsize).
func (s *Socket) Recv(bufsize uint32) ([]byte, error) {
	return received(func() witTypes.Result[[]byte, socketserver_handler_types.ErrorCode] {
		return s.binding.Recv(bufsize)
	})
}

// RecvWithFlags receives as Recv, with a sum of flags: MSG_PEEK, MSG_DONTWAIT,
// MSG_WAITALL, MSG_NOSIGNAL. Any other flag is EOPNOTSUPP. With MSG_WAITALL the host still
// returns no more than its limit for one call (256 KiB). Python's recv(bufsize, flags).
func (s *Socket) RecvWithFlags(bufsize uint32, flags int32) ([]byte, error) {
	return received(func() witTypes.Result[[]byte, socketserver_handler_types.ErrorCode] {
		return s.binding.RecvWithFlags(bufsize, flags)
	})
}

// RecvInto receives into buffer and returns the number of bytes, 0 at the end. The flags
// are those of RecvWithFlags, or 0. Python's recv_into(buffer, nbytes, flags).
func (s *Socket) RecvInto(buffer []byte, flags int32) (int, error) {
	data, err := s.RecvWithFlags(clamp(len(buffer)), flags)
	return copy(buffer, data), err
}

// Recvfrom receives as RecvWithFlags, and returns the address of the sender too. As in
// Python on Linux, a connection has none, except that of a Unix socket with a name: the
// address is then nil. Python's recvfrom(bufsize, flags).
func (s *Socket) Recvfrom(bufsize uint32, flags int32) ([]byte, *Address, error) {
	both, err := Value(Pinned(func() witTypes.Result[
		witTypes.Tuple2[[]byte, witTypes.Option[socketserver_handler_types.Address]],
		socketserver_handler_types.ErrorCode,
	] {
		return s.binding.Recvfrom(bufsize, flags)
	}))
	if err != nil {
		return nil, nil, err
	}
	data := bytes.Clone(both.F0)
	if both.F1.IsNone() {
		return data, nil, nil
	}
	sender := AddressFromBinding(both.F1.Some())
	return data, &sender, nil
}

// received calls a function that receives.
func received(call func() witTypes.Result[[]byte, socketserver_handler_types.ErrorCode]) ([]byte, error) {
	data, err := Value(Pinned(call))
	// Clone allocates, so a garbage collection may start here.
	return bytes.Clone(data), err
}

// clamp returns a length as the type of the contract has it.
func clamp(length int) uint32 {
	return uint32(min(uint64(length), math.MaxUint32))
}

// Send sends as much of data as the socket accepts and returns the number of bytes sent.
// Python's send(bytes).
func (s *Socket) Send(data []byte) (int, error) {
	sent, err := Value(s.binding.Send(data))
	return int(sent), err
}

// Sendall sends all of data. The timeout applies to the whole call. After an error the
// number of bytes sent is unknown. Python's sendall(bytes).
func (s *Socket) Sendall(data []byte) error {
	_, err := Value(s.binding.Sendall(data))
	return err
}

// SendWithFlags sends as Send, with a sum of flags: MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL.
// Any other flag is EOPNOTSUPP. Python's send(bytes, flags).
func (s *Socket) SendWithFlags(data []byte, flags int32) (int, error) {
	sent, err := Value(s.binding.SendWithFlags(data, flags))
	return int(sent), err
}

// SendallWithFlags sends as Sendall, with the flags of SendWithFlags. Python's
// sendall(bytes, flags).
func (s *Socket) SendallWithFlags(data []byte, flags int32) error {
	_, err := Value(s.binding.SendallWithFlags(data, flags))
	return err
}

// Sendto sends data as one datagram to an address, with the flags of SendWithFlags or 0,
// and returns the length of data. On a connection the address is ignored. Python's
// sendto(bytes, flags, address).
func (s *Socket) Sendto(data []byte, flags int32, to Address) (int, error) {
	sent, err := Value(s.binding.SendtoWithFlags(data, flags, to.Binding()))
	return int(sent), err
}

// Shutdown shuts down one half of the connection or both: SHUT_RD, SHUT_WR, SHUT_RDWR.
// Python's shutdown(how).
func (s *Socket) Shutdown(how int) error {
	if how < SHUT_RD || how > SHUT_RDWR {
		return Error(socketserver_handler_types.ErrorCodeInvalidArgument)
	}
	_, err := Value(s.binding.Shutdown(socketserver_handler_types.ShutdownHow(how)))
	return err
}

// Close closes the socket: the other end sees the end of the connection, and later calls
// fail with an error that is os.ErrClosed and net.ErrClosed. It returns nil, also the second time. Python's
// close().
func (s *Socket) Close() error {
	s.binding.Close()
	return nil
}

// Getpeername returns the address of the other end. Python's getpeername().
func (s *Socket) Getpeername() (Address, error) {
	return addressed(s.binding.Getpeername)
}

// Getsockname returns the address of this end. Python's getsockname().
func (s *Socket) Getsockname() (Address, error) {
	return addressed(s.binding.Getsockname)
}

func addressed(call func() witTypes.Result[socketserver_handler_types.Address, socketserver_handler_types.ErrorCode]) (Address, error) {
	binding, err := Value(Pinned(call))
	if err != nil {
		return Address{}, err
	}
	return AddressFromBinding(binding), nil
}

// NoTimeout is the timeout of calls that wait without limit.
const NoTimeout time.Duration = -1

// Settimeout sets the timeout of later calls. With [NoTimeout] they wait without limit,
// with 0 they fail with EAGAIN instead of waiting. Otherwise they fail with
// os.ErrDeadlineExceeded when the timeout is over. Python's settimeout(value).
func (s *Socket) Settimeout(timeout time.Duration) error {
	_, err := Value(s.binding.Settimeout(Seconds(timeout)))
	return err
}

// Seconds returns a timeout in the type of the generated bindings.
func Seconds(timeout time.Duration) witTypes.Option[float64] {
	if timeout == NoTimeout {
		return witTypes.None[float64]()
	}
	return witTypes.Some(timeout.Seconds())
}

// Gettimeout returns the timeout that Settimeout set, initially [NoTimeout]. Python's
// gettimeout().
func (s *Socket) Gettimeout() time.Duration {
	timeout := s.binding.Gettimeout()
	if timeout.IsNone() {
		return NoTimeout
	}
	nanoseconds := math.Round(timeout.Some() * float64(time.Second))
	if nanoseconds >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(nanoseconds)
}

// Setblocking sets the timeout to none if flag is true, and to 0 if it is false. Python's
// setblocking(flag).
func (s *Socket) Setblocking(flag bool) error {
	if flag {
		return s.Settimeout(NoTimeout)
	}
	return s.Settimeout(0)
}

// Getblocking returns false if the timeout is 0. Python's getblocking().
func (s *Socket) Getblocking() bool { return s.Gettimeout() != 0 }

// Getsockopt returns the value of an option, such as SO_ERROR at the level SOL_SOCKET. An
// option that handlers may not read is EACCES. Python's getsockopt(level, optname).
func (s *Socket) Getsockopt(level, optname int32) (int32, error) {
	return Value(s.binding.Getsockopt(level, optname))
}

// GetsockoptBytes returns the value of an option as at most buflen bytes, 1 to 1024.
// Python's getsockopt(level, optname, buflen).
func (s *Socket) GetsockoptBytes(level, optname int32, buflen uint32) ([]byte, error) {
	return received(func() witTypes.Result[[]byte, socketserver_handler_types.ErrorCode] {
		return s.binding.GetsockoptBytes(level, optname, buflen)
	})
}

// Setsockopt sets an option. An option that handlers may not set is EACCES, a value that
// it cannot have EINVAL. Python's setsockopt(level, optname, value).
func (s *Socket) Setsockopt(level, optname, value int32) error {
	_, err := Value(s.binding.Setsockopt(level, optname, value))
	return err
}

// SetsockoptBytes sets an option to bytes, such as the two numbers of SO_LINGER. Python's
// setsockopt(level, optname, bytes).
func (s *Socket) SetsockoptBytes(level, optname int32, value []byte) error {
	_, err := Value(s.binding.SetsockoptBytes(level, optname, value))
	return err
}

// Family returns the address family. Python's attribute family.
func (s *Socket) Family() AddressFamily { return FamilyFromBinding(s.binding.Family()) }

// Type returns the type. Python's attribute type.
func (s *Socket) Type() SocketKind { return KindFromBinding(s.binding.SocketType()) }

// Proto returns the protocol that the socket was created with: 0, the default, for a
// request socket. Python's attribute proto.
func (s *Socket) Proto() int32 { return s.binding.Proto() }

// Fileno returns a number that identifies this socket among the handler's sockets, or -1
// if the socket is closed. The number is not a file descriptor. Python's fileno().
func (s *Socket) Fileno() int32 { return s.binding.Fileno() }
