package socketserver

import (
	"bufio"
	"time"
)

// StreamRequestHandler reads a connection from RFile and writes to it with WFile. Finish sends
// what is in the buffer of WFile. A type that has a Setup or a Finish of its own calls the one of
// this type, as in Python.
//
// The client decides how long a line is: RFile.ReadSlice fails with bufio.ErrBufferFull after
// 8192 bytes, and RFile.ReadBytes allocates as many as come.
type StreamRequestHandler struct {
	BaseRequestHandler
	// Timeout is the timeout of the connection, or 0 for none. Set it before [Export]. Python's
	// timeout.
	Timeout time.Duration
	// DisableNagleAlgorithm sends small writes at once (TCP_NODELAY). Set it before [Export].
	// Python's disable_nagle_algorithm.
	DisableNagleAlgorithm bool
	// RFile reads the connection. Python's self.rfile.
	RFile *bufio.Reader
	// WFile writes to the connection. Its Flush sends what is in the buffer; Request.Write
	// writes without one. Python's self.wfile, with a wbufsize of 8192.
	WFile *bufio.Writer
}

// bufferSize is Python's io.DEFAULT_BUFFER_SIZE.
const bufferSize = 8192

// Setup opens RFile and WFile.
func (h *StreamRequestHandler) Setup() error {
	if h.Timeout > 0 {
		if err := h.Request.Settimeout(h.Timeout); err != nil {
			return err
		}
	}
	if h.DisableNagleAlgorithm {
		if err := h.Request.Setsockopt(IPPROTO_TCP, TCP_NODELAY, 1); err != nil {
			return err
		}
	}
	h.RFile = bufio.NewReaderSize(h.Request, bufferSize)
	h.WFile = bufio.NewWriterSize(h.Request, bufferSize)
	return nil
}

// Finish sends what is in the buffer of WFile.
func (h *StreamRequestHandler) Finish() error { return h.WFile.Flush() }
