// The datagram handler of Python's documentation: sends the data back, upper-cased.
package main

import (
	"bytes"
	"socketserver"
)

type MyUDPHandler struct {
	socketserver.BaseDatagramRequestHandler
}

func (h *MyUDPHandler) Handle() error {
	data := bytes.Trim(h.Request.Data, " \t\n\v\f\r")
	// Python's bytes.upper() handles ASCII only.
	for i, c := range data {
		if 'a' <= c && c <= 'z' {
			data[i] = c - ('a' - 'A')
		}
	}
	return h.Reply(data)
}

func init() { socketserver.ExportDatagram(&MyUDPHandler{}) }

func main() {}
