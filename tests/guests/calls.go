// Makes the calls on its socket that the client asks for, a line each, and answers each with
// a line: `ok` and the result as Python prints it, or `err` and the error.
package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"socketserver"
	"socketserver/netconn"
	"socketserver/sendfile"
	"socketserver/tls"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type Calls struct {
	socketserver.BaseRequestHandler
}

func (h *Calls) Handle() error {
	for {
		line, err := h.command()
		if err != nil || line == "" {
			return err
		}
		answer := ""
		if result, err := h.call(strings.Fields(line)); err == nil {
			answer = fmt.Sprintf("ok %v\n", result)
		} else {
			answer = fmt.Sprintf("err %s\n", nameOf(err))
		}
		if !h.Request.Getblocking() {
			h.Request.Settimeout(socketserver.NoTimeout)
		}
		if err := h.Request.Sendall([]byte(answer)); err != nil {
			return err
		}
	}
}

// command receives a line without a timeout. It is empty at the end.
func (h *Calls) command() (string, error) {
	timeout := h.Request.Gettimeout()
	h.Request.Settimeout(socketserver.NoTimeout)
	defer h.Request.Settimeout(timeout)
	line := ""
	for !strings.HasSuffix(line, "\n") {
		data, err := h.Request.Recv(1)
		if err != nil || len(data) == 0 {
			return "", err
		}
		line += string(data)
	}
	return line, nil
}

func (h *Calls) call(words []string) (any, error) {
	request := h.Request
	text := ""
	if len(words) > 1 {
		text = words[1]
	}
	var numbers []int32
	for _, word := range words {
		if number, err := strconv.ParseInt(word, 10, 32); err == nil {
			numbers = append(numbers, int32(number))
		}
	}
	number := func(place int) int32 {
		if place < len(numbers) {
			return numbers[place]
		}
		return 0
	}
	size := uint32(number(0))
	switch words[0] {
	case "recv":
		return hexOf(request.RecvWithFlags(size, number(1)))
	case "peek":
		peeked, err := request.RecvWithFlags(size, number(1))
		if err != nil {
			return nil, err
		}
		data, err := request.Recv(100)
		return fmt.Sprintf("%x %x", peeked, data), err
	case "recv_into":
		buffer := make([]byte, size)
		count, err := request.RecvInto(buffer, number(1))
		return fmt.Sprintf("%d %x", count, buffer), err
	case "recvfrom":
		data, sender, err := request.Recvfrom(size, number(1))
		if sender != nil {
			return fmt.Sprintf("%x %v", data, *sender), err
		}
		return fmt.Sprintf("%x None", data), err
	case "send":
		return request.SendWithFlags([]byte(text), number(0))
	case "sendall":
		return "None", request.SendallWithFlags([]byte(text), number(0))
	case "settimeout":
		timeout := socketserver.NoTimeout
		if seconds, err := strconv.ParseFloat(text, 64); err == nil {
			timeout = time.Duration(seconds * float64(time.Second))
		}
		return "None", request.Settimeout(timeout)
	case "gettimeout":
		timeout := request.Gettimeout()
		if timeout == socketserver.NoTimeout {
			return "None", nil
		}
		return timeout.Seconds(), nil
	case "setblocking":
		return "None", request.Setblocking(text == "True")
	case "getblocking":
		return python(request.Getblocking()), nil
	case "getsockopt":
		if len(numbers) == 3 {
			return hexOf(request.GetsockoptBytes(number(0), number(1), uint32(number(2))))
		}
		return request.Getsockopt(number(0), number(1))
	case "setsockopt":
		return "None", request.Setsockopt(number(0), number(1), number(2))
	case "setsockopt_bytes":
		value, err := hex.DecodeString(words[3][1:])
		if err != nil {
			return nil, err
		}
		return "None", request.SetsockoptBytes(number(0), number(1), value)
	case "attributes":
		return fmt.Sprintf("%v %v %v", request.Family(), request.Type(), request.Proto()), nil
	case "names":
		peer, err := request.Getpeername()
		isSame := netconn.Conn(request).RemoteAddr().String() == peer.String()
		return python(isSame && peer == h.ClientAddress), err
	case "sendfile":
		file, err := sendfile.Open(text)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return sendfile.Sendfile(request, file, int64(number(0)), int64(number(1)))
	case "version":
		return orNone(tls.Version(request)), nil
	case "cipher":
		name, protocol, bits := tls.Cipher(request)
		if name == "" {
			return "None", nil
		}
		return fmt.Sprintf("%s %s %d", name, protocol, bits), nil
	case "alpn":
		return orNone(tls.SelectedAlpnProtocol(request)), nil
	case "peercert":
		return orNone(hex.EncodeToString(tls.Getpeercert(request))), nil
	case "hostname":
		return orNone(tls.ServerHostname(request)), nil
	case "shutdown":
		return "None", request.Shutdown(int(size))
	}
	return "None", nil
}

// orNone returns a text, or what Python prints for none.
func orNone(text string) string {
	if text == "" {
		return "None"
	}
	return text
}

// python returns a truth value as Python prints it.
func python(value bool) string {
	if value {
		return "True"
	}
	return "False"
}

func hexOf(data []byte, err error) (any, error) { return hex.EncodeToString(data), err }

// nameOf returns the name that the handler in Python gives to the error.
func nameOf(err error) string {
	for _, one := range []struct {
		err  error
		name string
	}{
		{os.ErrDeadlineExceeded, "TimeoutError"},
		{syscall.EAGAIN, "BlockingIOError"},
		{syscall.EINVAL, "EINVAL"},
		{syscall.EOPNOTSUPP, "EOPNOTSUPP"},
		{syscall.ENOTCONN, "ENOTCONN"},
		{syscall.EPIPE, "EPIPE"},
		{syscall.EACCES, "EACCES"},
		{fs.ErrNotExist, "ENOENT"},
	} {
		if errors.Is(err, one.err) {
			return one.name
		}
	}
	return err.Error()
}

func init() { socketserver.Export(&Calls{}) }

func main() {}
