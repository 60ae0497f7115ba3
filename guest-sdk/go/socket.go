package socketserver

import (
	"bytes"
	"time"
	_ "unsafe" // for go:linkname

	"socketserver/bindings/socketserver_handler_sockets"
	"socketserver/bindings/socketserver_handler_types"

	witRuntime "go.bytecodealliance.org/pkg/wit/runtime"
	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Socket is the request socket: Python's self.request. The host closes the
// connection after Finish.
type Socket struct {
	binding *socketserver_handler_sockets.Socket
}

// Recv receives at most bufsize bytes: it waits for the first, then returns
// what is there. Nothing, without an error, when the other end has finished
// sending.
func (s *Socket) Recv(bufsize uint32) ([]byte, error) {
	// The host has the bytes allocated in the middle of its call, when the guest
	// may not call it in turn. A garbage collection would, to read a clock, and
	// trap. None begins while the goroutine is pinned.
	procPin()
	received := s.binding.Recv(bufsize)
	procUnpin()
	// The bindings would keep the bytes until the request is over.
	witRuntime.Unpin()
	data, err := value(received)
	// The copy is an allocation at which a collection may begin.
	return bytes.Clone(data), err
}

//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()

// Send sends as much of data as the socket takes, and returns how much that was.
func (s *Socket) Send(data []byte) (int, error) {
	sent, err := value(s.binding.Send(data))
	return int(sent), err
}

// Sendall sends all of data. After an error nobody knows how much was sent.
func (s *Socket) Sendall(data []byte) error {
	_, err := value(s.binding.Sendall(data))
	return err
}

// NoTimeout is the timeout of calls that may wait without end.
const NoTimeout time.Duration = -1

// Settimeout says how long a call may wait: [NoTimeout] for without end, 0 for
// not at all.
func (s *Socket) Settimeout(timeout time.Duration) error {
	seconds := witTypes.None[float64]()
	if timeout != NoTimeout {
		seconds = witTypes.Some(timeout.Seconds())
	}
	_, err := value(s.binding.Settimeout(seconds))
	return err
}

// Close gives the socket up: the other end sees the end of the connection.
func (s *Socket) Close() { s.binding.Close() }

// Binding is the socket as the generated bindings know it.
func (s *Socket) Binding() *socketserver_handler_sockets.Socket { return s.binding }

func value[T any](result witTypes.Result[T, socketserver_handler_types.ErrorCode]) (T, error) {
	if result.IsErr() {
		var nothing T
		return nothing, Error(result.Err())
	}
	return result.Ok(), nil
}
