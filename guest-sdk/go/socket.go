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

// Socket is the request socket. Python's self.request. The host closes the
// connection after Finish.
type Socket struct {
	binding *socketserver_handler_sockets.Socket
}

// Recv waits for data and returns at most bufsize bytes of it. The result is empty,
// without an error, if the other end has finished sending.
func (s *Socket) Recv(bufsize uint32) ([]byte, error) {
	// During this call the host allocates memory in the guest, and the guest may not
	// call the host. A garbage collection would read a clock and so trap. No garbage
	// collection starts while the goroutine is pinned.
	procPin()
	received := s.binding.Recv(bufsize)
	procUnpin()
	// Without Unpin the bindings keep the bytes until the end of the request.
	witRuntime.Unpin()
	data, err := value(received)
	// Clone allocates, so a garbage collection may start here.
	return bytes.Clone(data), err
}

//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()

// Send sends as much of data as the socket accepts and returns the number of bytes
// sent.
func (s *Socket) Send(data []byte) (int, error) {
	sent, err := value(s.binding.Send(data))
	return int(sent), err
}

// Sendall sends all of data. After an error the number of bytes sent is unknown.
func (s *Socket) Sendall(data []byte) error {
	_, err := value(s.binding.Sendall(data))
	return err
}

// NoTimeout is the timeout of calls that wait without limit.
const NoTimeout time.Duration = -1

// Settimeout sets the timeout of later calls. With [NoTimeout] they wait without
// limit, with 0 they do not wait.
func (s *Socket) Settimeout(timeout time.Duration) error {
	seconds := witTypes.None[float64]()
	if timeout != NoTimeout {
		seconds = witTypes.Some(timeout.Seconds())
	}
	_, err := value(s.binding.Settimeout(seconds))
	return err
}

// Close closes the socket: the other end sees the end of the connection.
func (s *Socket) Close() { s.binding.Close() }

// Binding returns the socket in the type of the generated bindings.
func (s *Socket) Binding() *socketserver_handler_sockets.Socket { return s.binding }

func value[T any](result witTypes.Result[T, socketserver_handler_types.ErrorCode]) (T, error) {
	if result.IsErr() {
		var nothing T
		return nothing, Error(result.Err())
	}
	return result.Ok(), nil
}
