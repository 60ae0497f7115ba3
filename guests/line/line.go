// Sends one line back: the handler of CPython's own tests of socketserver.
package main

import (
	"io"
	"socketserver"
)

type Line struct {
	socketserver.StreamRequestHandler
}

func (h *Line) Handle() error {
	line, err := h.RFile.ReadBytes('\n')
	if err != nil && err != io.EOF {
		return err
	}
	_, err = h.WFile.Write(line)
	return err
}

func init() { socketserver.Export(&Line{}) }

func main() {}
