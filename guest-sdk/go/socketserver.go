// Package socketserver is for request handlers of wasm-socketserver, written in
// Go as Python's socketserver writes them: embed [BaseRequestHandler] in a
// type, give it a method Handle, and pass one to [Export].
//
// What has no name here is in the packages socketserver/bindings/..., which are
// made of the contract: [Socket.Binding] is for them.
package socketserver

import (
	"socketserver/bindings/socketserver_handler_sockets"
	"socketserver/bindings/socketserver_handler_types"
	_ "socketserver/bindings/wit_exports"
	exports "socketserver/export_socketserver_handler_stream_request"
)

// Handler serves one request. After an error of Setup neither of the others is
// called; Finish is called after an error of Handle. The text of an error is
// for the log of the operator.
type Handler interface {
	Setup() error
	Handle() error
	Finish() error

	base() *BaseRequestHandler
}

// BaseRequestHandler has what a handler is given, and methods that do nothing.
type BaseRequestHandler struct {
	// Request is the connection.
	Request *Socket
	// ClientAddress is where the connection came from.
	ClientAddress Address
}

// Setup does nothing.
func (h *BaseRequestHandler) Setup() error { return nil }

// Handle does nothing.
func (h *BaseRequestHandler) Handle() error { return nil }

// Finish does nothing.
func (h *BaseRequestHandler) Finish() error { return nil }

func (h *BaseRequestHandler) base() *BaseRequestHandler { return h }

// Export makes handler what the component serves its request with: a component
// serves one only. It is to be called from an init function, for main does not
// run.
func Export(handler Handler) {
	exports.OnSetup = func(request *socketserver_handler_sockets.Socket, client socketserver_handler_types.Address) error {
		base := handler.base()
		base.Request = &Socket{request}
		base.ClientAddress = address(client)
		return handler.Setup()
	}
	exports.OnHandle = handler.Handle
	exports.OnFinish = handler.Finish
}
