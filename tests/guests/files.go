// Reads and writes its connection as files, in the case that the client names in the first line:
// `files.py` in Go.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"socketserver"
	"time"
)

type Files struct {
	socketserver.StreamRequestHandler
}

func (h *Files) Handle() error {
	name, err := h.RFile.ReadString('\n')
	if err != nil {
		return err
	}
	switch name {
	case "limit\n":
		return h.limit()
	case "read\n":
		data := make([]byte, 7)
		count, _ := io.ReadFull(h.RFile, data)
		fmt.Fprintf(h.WFile, "[%s]", data[:count])
		rest, err := io.ReadAll(h.RFile)
		fmt.Fprintf(h.WFile, "[%s]", rest)
		return err
	case "large\n":
		for letter := byte('a'); letter <= 'j'; letter++ {
			h.WFile.Write(bytes.Repeat([]byte{letter}, 3000))
		}
		_, err := h.WFile.Write(bytes.Repeat([]byte{'k'}, 20000))
		return err
	case "hold\n", "flush\n":
		h.WFile.WriteString("first\n")
		if name == "flush\n" {
			h.WFile.Flush()
		}
		if _, err := h.RFile.ReadSlice('\n'); err != nil && err != io.EOF {
			return err
		}
		_, err := h.WFile.WriteString("second\n")
		return err
	case "options\n":
		nodelay, err := h.Request.Getsockopt(socketserver.IPPROTO_TCP, socketserver.TCP_NODELAY)
		fmt.Fprintf(h.WFile, "%d %v\n", nodelay, h.Request.Gettimeout().Seconds())
		return err
	case "error\n":
		h.WFile.WriteString("before\n")
		return errors.New("on purpose")
	case "silence\n":
		for range 2 {
			if _, err := h.RFile.ReadSlice('\n'); err != nil {
				fmt.Fprintln(h.WFile, err)
			}
		}
		return nil
	case "late\n":
		h.WFile.WriteString("ready\n")
		h.WFile.Flush()
		if _, err := h.RFile.ReadSlice('\n'); err != nil {
			h.WFile.WriteString("late\n")
		}
		return nil
	}
	return errors.New("no such case")
}

// limit reads lines in pieces of at most five bytes.
func (h *Files) limit() error {
	var piece []byte
	for {
		letter, err := h.RFile.ReadByte()
		if err == nil {
			piece = append(piece, letter)
		}
		if len(piece) > 0 && (err != nil || letter == '\n' || len(piece) == 5) {
			fmt.Fprintf(h.WFile, "[%s]", piece)
			piece = nil
		}
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func init() {
	handler := &Files{}
	handler.Timeout = 500 * time.Millisecond
	handler.DisableNagleAlgorithm = true
	socketserver.Export(handler)
}

func main() {}
