// Package socketserver is for request handlers of wasm-socketserver, with the classes
// and names of Python's socketserver: embed [BaseRequestHandler] in a type, define its
// method Handle, and pass a value of the type to [Export].
//
// The package socketserver/network opens other sockets. Functions of the host without a
// name here are in the packages socketserver/bindings/..., which are generated from the
// contract. Pass the result of [Socket.Binding] to them, and call those that return bytes,
// texts or lists in [Pinned].
package socketserver

import (
	"socketserver/bindings/socketserver_handler_sockets"
	"socketserver/bindings/socketserver_handler_types"
	_ "socketserver/bindings/wit_exports"
	exports "socketserver/export_socketserver_handler_stream_request"
)

// Handler serves one request. After an error of Setup the host calls neither Handle nor
// Finish. After an error of Handle it calls Finish. The text of an error is for the
// operator's log.
type Handler interface {
	Setup() error
	Handle() error
	Finish() error

	base() *BaseRequestHandler
}

// BaseRequestHandler has the fields of a handler, and methods that do nothing.
type BaseRequestHandler struct {
	// Request is the connection.
	Request *Socket
	// ClientAddress is the address of the client.
	ClientAddress Address
}

// Setup does nothing.
func (h *BaseRequestHandler) Setup() error { return nil }

// Handle does nothing.
func (h *BaseRequestHandler) Handle() error { return nil }

// Finish does nothing.
func (h *BaseRequestHandler) Finish() error { return nil }

func (h *BaseRequestHandler) base() *BaseRequestHandler { return h }

// Export exports handler from the component. A component has one handler, which serves
// one request. Call Export in an init function, because main does not run.
func Export(handler Handler) {
	exports.OnSetup = func(request *socketserver_handler_sockets.Socket, client socketserver_handler_types.Address) error {
		base := handler.base()
		base.Request = SocketFromBinding(request)
		base.ClientAddress = AddressFromBinding(client)
		return handler.Setup()
	}
	exports.OnHandle = handler.Handle
	exports.OnFinish = handler.Finish
}
