// Sends all data back until the client has finished sending.
package main

import "socketserver"

type Echo struct {
	socketserver.BaseRequestHandler
}

func (h *Echo) Handle() error {
	for {
		data, err := h.Request.Recv(65536)
		if err != nil || len(data) == 0 {
			return err
		}
		if err := h.Request.Sendall(data); err != nil {
			return err
		}
	}
}

func init() { socketserver.Export(&Echo{}) }

func main() {}
