// Sends each datagram back; reads and writes it as files.
package main

import (
	"io"
	"socketserver"
)

type Echo struct {
	socketserver.DatagramRequestHandler
}

func (h *Echo) Handle() error {
	_, err := io.Copy(&h.WFile, h.RFile)
	return err
}

func init() { socketserver.ExportDatagram(&Echo{}) }

func main() {}
