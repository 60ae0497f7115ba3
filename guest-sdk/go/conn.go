package socketserver

import (
	"io"
	"time"

	"socketserver/bindings/socketserver_handler_types"
)

// Read receives into buffer, as that of net.Conn. At the end of a connection the error is
// io.EOF.
func (s *Socket) Read(buffer []byte) (count int, err error) {
	if len(buffer) == 0 {
		return 0, nil
	}
	err = s.within(s.readDeadline, func() error {
		data, err := s.Recv(clamp(len(buffer)))
		count = copy(buffer, data)
		return err
	})
	if count == 0 && err == nil && (s.Type() == SOCK_STREAM || s.Type() == SOCK_SEQPACKET) {
		err = io.EOF
	}
	return count, err
}

// Write sends all of data, and returns the number of bytes sent, as that of net.Conn.
func (s *Socket) Write(data []byte) (count int, err error) {
	for {
		err = s.within(s.writeDeadline, func() error {
			sent, err := s.Send(data[count:])
			count += sent
			return err
		})
		if err != nil || count == len(data) {
			return count, err
		}
	}
}

// within calls a function with the time until a deadline as the timeout of the socket.
func (s *Socket) within(deadline time.Time, call func() error) error {
	if deadline.IsZero() {
		return call()
	}
	left := time.Until(deadline)
	if left <= 0 {
		return Error(socketserver_handler_types.ErrorCodeTimedOut)
	}
	before := s.Gettimeout()
	if err := s.Settimeout(left); err != nil {
		return err
	}
	defer s.Settimeout(before)
	return call()
}

// CloseRead shuts the receiving half of the connection down, as that of net.TCPConn.
func (s *Socket) CloseRead() error { return s.Shutdown(SHUT_RD) }

// CloseWrite shuts the sending half of the connection down, as that of net.TCPConn.
func (s *Socket) CloseWrite() error { return s.Shutdown(SHUT_WR) }

// SetDeadline sets the deadlines of Read and Write, as that of net.Conn.
func (s *Socket) SetDeadline(deadline time.Time) error {
	s.readDeadline, s.writeDeadline = deadline, deadline
	return nil
}

// SetReadDeadline sets the time after which Read fails with os.ErrDeadlineExceeded. The
// zero value stands for no deadline: the timeout of Settimeout then applies, which is also
// that of the methods with Python's names.
func (s *Socket) SetReadDeadline(deadline time.Time) error {
	s.readDeadline = deadline
	return nil
}

// SetWriteDeadline sets the time after which Write fails, as SetReadDeadline does for Read.
func (s *Socket) SetWriteDeadline(deadline time.Time) error {
	s.writeDeadline = deadline
	return nil
}
