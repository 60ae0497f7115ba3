// The handler of Python's documentation: sends the data back, upper-cased.
package main

import (
	"bytes"
	"socketserver"
)

type MyTCPHandler struct {
	socketserver.BaseRequestHandler
}

func (h *MyTCPHandler) Handle() error {
	data, err := h.Request.Recv(1024)
	if err != nil {
		return err
	}
	return h.Request.Sendall(upper(bytes.Trim(data, " \t\n\v\f\r")))
}

// Python's bytes.upper() handles ASCII only.
func upper(data []byte) []byte {
	for i, c := range data {
		if 'a' <= c && c <= 'z' {
			data[i] = c - ('a' - 'A')
		}
	}
	return data
}

func init() { socketserver.Export(&MyTCPHandler{}) }

func main() {}
