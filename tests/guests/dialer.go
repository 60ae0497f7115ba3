// Does what the lines of its client say with sockets that it opens, and answers each line. A
// new socket takes the place of the last one, which goes on a stack.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"socketserver"
	"socketserver/network"
	"strconv"
	"strings"
	"time"
)

type Dialer struct {
	socketserver.BaseRequestHandler
	sockets []*network.Socket
}

func (h *Dialer) Handle() error {
	lines := bufio.NewScanner(h.Request)
	for lines.Scan() {
		answer, err := h.run(strings.Split(lines.Text(), " "))
		if err != nil {
			answer = "E " + err.Error()
		}
		if _, err := fmt.Fprintln(h.Request, answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (h *Dialer) run(words []string) (string, error) {
	var last *network.Socket
	if len(h.sockets) > 0 {
		last = h.sockets[len(h.sockets)-1]
	}
	push := func(sockets ...*network.Socket) { h.sockets = append(h.sockets, sockets...) }
	switch words[0] {
	case "socket":
		socket, err := network.NewSocket(familyOf(words[1]), kindOf(words[2]), 0)
		if err == nil {
			push(socket)
		}
		return "ok", err
	case "pair":
		one, other, err := network.Socketpair(kindOf(words[1]))
		if err == nil {
			push(one, other)
		}
		return "ok", err
	case "swap":
		end := len(h.sockets)
		h.sockets[end-1], h.sockets[end-2] = h.sockets[end-2], h.sockets[end-1]
		return "ok", nil
	case "drop":
		h.sockets = h.sockets[:len(h.sockets)-1]
		last.Drop()
		return "ok", nil
	case "close":
		return "ok", last.Close()
	case "timeout":
		return "ok", last.Settimeout(seconds(words[1]))
	case "connect":
		err := last.Connect(address(words[1]))
		// An error of the contract is an error of Go, too.
		if errors.Is(err, fs.ErrPermission) != strings.Contains(fmt.Sprint(err), "permission denied") {
			return "the error is not fs.ErrPermission", nil
		}
		return "ok", err
	case "connect_ex":
		return strconv.Itoa(int(last.ConnectEx(address(words[1])))), nil
	case "bind":
		return "ok", last.Bind(address(words[1]))
	case "listen":
		return "ok", last.Listen(5)
	case "accept":
		connection, peer, err := last.Accept()
		if err == nil {
			push(connection)
		}
		return peer.String(), err
	case "name":
		name, err := last.Getsockname()
		return name.String(), err
	case "peer":
		name, err := last.Getpeername()
		return name.String(), err
	case "send":
		count, err := last.Send([]byte(words[1]))
		return strconv.Itoa(count), err
	case "sendto":
		count, err := last.Sendto([]byte(words[1]), 0, address(words[2]))
		return strconv.Itoa(count), err
	case "recv":
		data, err := last.Recv(1024)
		return string(data), err
	case "deadline":
		last.SetReadDeadline(time.Now().Add(seconds(words[1])))
		_, err := last.Read(make([]byte, 10))
		return strconv.FormatBool(errors.Is(err, os.ErrDeadlineExceeded)), nil
	case "dial":
		port, _ := strconv.ParseUint(words[2], 10, 16)
		socket, err := network.CreateConnection(words[1], uint16(port), 5*time.Second, nil)
		if err == nil {
			push(socket)
		}
		return "ok", err
	case "lookup":
		found, err := network.Getaddrinfo(words[1], "80", 0, socketserver.SOCK_STREAM, 0, 0)
		var addresses []string
		for _, one := range found {
			addresses = append(addresses, one.Address.String())
		}
		return strings.Join(addresses, ","), err
	case "hostbyname":
		ip, err := network.Gethostbyname(words[1])
		return ip.String(), err
	case "select":
		var sockets []network.Selectable
		for _, socket := range h.sockets {
			sockets = append(sockets, socket)
		}
		exceptional := []network.Selectable{h.Request}
		ready, err := network.Select(sockets, sockets, exceptional, seconds(words[1]))
		return fmt.Sprint(list(ready.Readers), " ", list(ready.Writers), " ", list(ready.Exceptional)), err
	}
	return "", errors.New("there is no such command")
}

func list(numbers []uint32) string {
	return strings.ReplaceAll(fmt.Sprint(numbers), " ", ", ")
}

func seconds(word string) time.Duration {
	seconds, _ := strconv.ParseFloat(word, 64)
	return time.Duration(seconds * float64(time.Second))
}

func familyOf(word string) socketserver.AddressFamily {
	return map[string]socketserver.AddressFamily{
		"inet": socketserver.AF_INET, "inet6": socketserver.AF_INET6, "unix": socketserver.AF_UNIX,
	}[word]
}

func kindOf(word string) socketserver.SocketKind {
	return map[string]socketserver.SocketKind{
		"stream": socketserver.SOCK_STREAM, "dgram": socketserver.SOCK_DGRAM,
		"seqpacket": socketserver.SOCK_SEQPACKET, "raw": socketserver.SOCK_RAW,
	}[word]
}

func address(text string) socketserver.Address {
	if name, ok := strings.CutPrefix(text, "@"); ok {
		return socketserver.Address{Unix: "\x00" + name}
	}
	if strings.HasPrefix(text, "/") {
		return socketserver.Address{Unix: text}
	}
	return socketserver.Address{IP: netip.MustParseAddrPort(text)}
}

func init() { socketserver.Export(&Dialer{}) }

func main() {}
