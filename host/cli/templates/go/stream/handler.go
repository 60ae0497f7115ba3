// Receives up to 1024 bytes, and sends them back in upper case.
package main

import (
	"bytes"
	"socketserver"
)

type MyTCPHandler struct{ socketserver.BaseRequestHandler }

func (h *MyTCPHandler) Handle() error {
	data, err := h.Request.Recv(1024)
	if err != nil {
		return err
	}
	return h.Request.Sendall(bytes.ToUpper(bytes.TrimSpace(data)))
}

func init() { socketserver.Export(&MyTCPHandler{}) }

func main() {}
