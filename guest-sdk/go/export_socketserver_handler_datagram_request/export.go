// Package export_socketserver_handler_datagram_request has the functions that the
// generated bindings call for a datagram; the bindings require this name. Handlers use
// the package socketserver.
package export_socketserver_handler_datagram_request

import (
	"socketserver/bindings/socketserver_handler_sockets"
	"socketserver/bindings/socketserver_handler_types"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// The functions of the handler, which the package socketserver sets.
var (
	OnSetup  func([]byte, *socketserver_handler_sockets.Socket, socketserver_handler_types.Address) error
	OnHandle func() error
	OnFinish func() error
)

// Result is the result of a handler's method in the type of the contract.
type Result = witTypes.Result[witTypes.Unit, string]

// Setup is called first, with the datagram, the socket to reply on, and the address of the
// client.
func Setup(request witTypes.Tuple2[[]uint8, *socketserver_handler_sockets.Socket], clientAddress socketserver_handler_types.Address) Result {
	if OnSetup == nil {
		return witTypes.Err[witTypes.Unit, string]("the guest has no handler of datagrams: it did not call socketserver.ExportDatagram")
	}
	return result(OnSetup(request.F0, request.F1, clientAddress))
}

// Handle is called unless Setup returned an error.
func Handle() Result { return result(OnHandle()) }

// Finish is called after Handle.
func Finish() Result { return result(OnFinish()) }

func result(err error) Result {
	if err != nil {
		return witTypes.Err[witTypes.Unit, string](err.Error())
	}
	return witTypes.Ok[witTypes.Unit, string](witTypes.Unit{})
}
