// Sends all data back, over TCP and over UDP: two handlers in one component.
package main

import (
	"io"
	"socketserver"
)

type OverTCP struct {
	socketserver.BaseRequestHandler
}

func (h *OverTCP) Handle() error {
	_, err := io.Copy(h.Request, h.Request)
	return err
}

type OverUDP struct {
	socketserver.BaseDatagramRequestHandler
}

func (h *OverUDP) Handle() error { return h.Reply(h.Request.Data) }

func init() {
	socketserver.Export(&OverTCP{})
	socketserver.ExportDatagram(&OverUDP{})
}

func main() {}
