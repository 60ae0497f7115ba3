package socketserver

import (
	"bytes"

	"socketserver/bindings/socketserver_handler_sockets"
	"socketserver/bindings/socketserver_handler_types"
	exports "socketserver/export_socketserver_handler_datagram_request"
)

// Datagram is a datagram, and the socket to reply on: Python's pair.
type Datagram struct {
	// Data is the content of the datagram.
	Data []byte
	// Socket is the socket of the server. It sends to the client of the request only, and
	// receives nothing.
	Socket *Socket
}

// DatagramHandler serves one datagram, as [Handler] serves a connection.
type DatagramHandler interface {
	Setup() error
	Handle() error
	Finish() error

	datagramBase() *BaseDatagramRequestHandler
}

// BaseDatagramRequestHandler has the fields of a handler of datagrams, and methods that do
// nothing. Python's BaseRequestHandler under a UDPServer.
type BaseDatagramRequestHandler struct {
	// Request is the datagram, and the socket to reply on.
	Request Datagram
	// ClientAddress is the address of the client.
	ClientAddress Address
}

// Setup does nothing.
func (h *BaseDatagramRequestHandler) Setup() error { return nil }

// Handle does nothing.
func (h *BaseDatagramRequestHandler) Handle() error { return nil }

// Finish does nothing.
func (h *BaseDatagramRequestHandler) Finish() error { return nil }

func (h *BaseDatagramRequestHandler) datagramBase() *BaseDatagramRequestHandler { return h }

// Reply sends data to the client as one datagram.
func (h *BaseDatagramRequestHandler) Reply(data []byte) error {
	_, err := h.Request.Socket.Sendto(data, 0, h.ClientAddress)
	return err
}

// DatagramRequestHandler reads a datagram from RFile and writes the reply to WFile. Finish
// sends the reply as one datagram, which is empty if nothing was written. To send no reply,
// or several, embed [BaseDatagramRequestHandler]. A type that has a Setup or a Finish of its
// own calls the one of this type, as in Python.
type DatagramRequestHandler struct {
	BaseDatagramRequestHandler
	// RFile reads the datagram. Python's self.rfile.
	RFile *bytes.Reader
	// WFile is the reply. Python's self.wfile.
	WFile bytes.Buffer
}

// Setup opens RFile.
func (h *DatagramRequestHandler) Setup() error {
	h.RFile = bytes.NewReader(h.Request.Data)
	return nil
}

// Finish sends what was written to WFile.
func (h *DatagramRequestHandler) Finish() error { return h.Reply(h.WFile.Bytes()) }

// ExportDatagram exports a handler of datagrams from the component. Call it in an init
// function. A component that calls [Export] too serves both kinds of sockets. The build finds
// the call by its text, `socketserver.ExportDatagram(`.
func ExportDatagram(handler DatagramHandler) {
	exports.OnSetup = func(data []byte, socket *socketserver_handler_sockets.Socket, client socketserver_handler_types.Address) error {
		base := handler.datagramBase()
		base.Request = Datagram{Data: bytes.Clone(data), Socket: SocketFromBinding(socket)}
		base.ClientAddress = AddressFromBinding(client)
		return handler.Setup()
	}
	exports.OnHandle = handler.Handle
	exports.OnFinish = handler.Finish
}
