package socketserver

import (
	_ "unsafe" // for go:linkname

	"socketserver/bindings/socketserver_handler_types"

	witRuntime "go.bytecodealliance.org/pkg/wit/runtime"
	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Pinned calls function, which calls a function of the generated bindings that returns
// bytes, texts or lists, and returns its result.
//
// During such a call the host allocates memory in the guest, and the guest may not call
// the host. A garbage collection would read a clock and so trap. No garbage collection
// starts while the goroutine is pinned. The methods of [Socket] do this themselves.
func Pinned[T any](function func() T) T {
	procPin()
	result := function()
	procUnpin()
	// Without Unpin the bindings keep the memory until the end of the request.
	witRuntime.Unpin()
	return result
}

//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()

// Value returns the value of a result of the generated bindings, or its error as an
// [Error].
func Value[T any](result witTypes.Result[T, socketserver_handler_types.ErrorCode]) (T, error) {
	if result.IsErr() {
		var nothing T
		return nothing, Error(result.Err())
	}
	return result.Ok(), nil
}
