// Package tls has facts about the TLS of a connection, with Python's names. All are empty for a
// connection without TLS, for the socket of a datagram, for a socket that the handler opened, and
// after Close.
//
// A component imports the interface tls of the contract only if it uses this package.
package tls

import (
	"socketserver"
	"socketserver/bindings/socketserver_handler_sockets"
	"socketserver/bindings/socketserver_handler_tls"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Version returns TLSv1.2 or TLSv1.3. Python's version().
func Version(socket *socketserver.Socket) string {
	return text(socket, socketserver_handler_tls.Version)
}

// Cipher returns OpenSSL's name of the cipher suite, the version of TLS that defines it, and the
// number of secret bits. Python's cipher().
func Cipher(socket *socketserver.Socket) (name, protocol string, secretBits int) {
	cipher := socketserver.Pinned(func() witTypes.Option[witTypes.Tuple3[string, string, uint32]] {
		return socketserver_handler_tls.Cipher(socket.Binding())
	})
	if cipher.IsNone() {
		return "", "", 0
	}
	return cipher.Some().F0, cipher.Some().F1, int(cipher.Some().F2)
}

// SelectedAlpnProtocol returns the application protocol (ALPN) that the client and the server
// agreed upon. Python's selected_alpn_protocol().
func SelectedAlpnProtocol(socket *socketserver.Socket) string {
	return text(socket, socketserver_handler_tls.SelectedAlpnProtocol)
}

// Getpeercert returns the client's certificate in DER, which x509.ParseCertificate reads, or nil if
// the client showed none. The server has verified it. Python's getpeercert(binary_form=True).
func Getpeercert(socket *socketserver.Socket) []byte {
	return socketserver.Pinned(func() witTypes.Option[[]byte] {
		return socketserver_handler_tls.Getpeercert(socket.Binding())
	}).SomeOr(nil)
}

// ServerHostname returns the name of the server that the client asked for (SNI), in lower case. Any
// client can ask for any name. Python tells it to sni_callback only.
func ServerHostname(socket *socketserver.Socket) string {
	return text(socket, socketserver_handler_tls.ServerHostname)
}

func text(socket *socketserver.Socket, call func(*socketserver_handler_sockets.Socket) witTypes.Option[string]) string {
	return socketserver.Pinned(func() witTypes.Option[string] { return call(socket.Binding()) }).SomeOr("")
}
