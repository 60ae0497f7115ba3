// Sends each datagram back in upper case.
package main

import (
	"bytes"
	"socketserver"
)

type MyUDPHandler struct{ socketserver.BaseDatagramRequestHandler }

func (h *MyUDPHandler) Handle() error {
	return h.Reply(bytes.ToUpper(bytes.TrimSpace(h.Request.Data)))
}

func init() { socketserver.ExportDatagram(&MyUDPHandler{}) }

func main() {}
