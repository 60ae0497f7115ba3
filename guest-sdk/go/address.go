package socketserver

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"socketserver/bindings/socketserver_handler_types"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Address is the address of one end of a connection. The flow label of IPv6, which Python
// has in its tuple, is not kept.
type Address struct {
	// IP is the IP address and the port. It is invalid for a Unix socket.
	IP netip.AddrPort
	// Unix is a path or, after a zero byte, an abstract name, as in Python.
	// It is empty for an unnamed socket and for an IP address.
	Unix string
}

// String returns the address as the package net writes it: HOST:PORT, [HOST]:PORT, a path,
// or an abstract name after an @.
func (a Address) String() string {
	if a.IP.IsValid() {
		return a.IP.String()
	}
	if name, ok := strings.CutPrefix(a.Unix, "\x00"); ok {
		return "@" + name
	}
	return a.Unix
}

// Binding returns the address in the type of the generated bindings.
func (a Address) Binding() socketserver_handler_types.Address {
	ip, port := a.IP.Addr(), a.IP.Port()
	switch {
	case ip.Is4():
		h := ip.As4()
		return socketserver_handler_types.MakeAddressIpv4(socketserver_handler_types.Ipv4Address{
			Host: witTypes.Tuple4[uint8, uint8, uint8, uint8]{F0: h[0], F1: h[1], F2: h[2], F3: h[3]},
			Port: port,
		})
	case ip.Is6():
		bytes := ip.As16()
		group := func(i int) uint16 { return binary.BigEndian.Uint16(bytes[2*i:]) }
		// Names of interfaces are the host's: a zone is a number here.
		scope, _ := strconv.ParseUint(ip.Zone(), 10, 32)
		return socketserver_handler_types.MakeAddressIpv6(socketserver_handler_types.Ipv6Address{
			Host: witTypes.Tuple8[uint16, uint16, uint16, uint16, uint16, uint16, uint16, uint16]{
				F0: group(0), F1: group(1), F2: group(2), F3: group(3),
				F4: group(4), F5: group(5), F6: group(6), F7: group(7),
			},
			Port:    port,
			ScopeId: uint32(scope),
		})
	}
	unix := socketserver_handler_types.MakeUnixAddressUnnamed()
	if name, ok := strings.CutPrefix(a.Unix, "\x00"); ok {
		unix = socketserver_handler_types.MakeUnixAddressAbstract([]byte(name))
	} else if a.Unix != "" {
		unix = socketserver_handler_types.MakeUnixAddressPathname([]byte(a.Unix))
	}
	return socketserver_handler_types.MakeAddressUnix(unix)
}

// AddressFromBinding converts an address from the type of the generated bindings.
func AddressFromBinding(address socketserver_handler_types.Address) Address {
	switch address.Tag() {
	case socketserver_handler_types.AddressIpv4:
		ipv4 := address.Ipv4()
		host := netip.AddrFrom4([4]byte{ipv4.Host.F0, ipv4.Host.F1, ipv4.Host.F2, ipv4.Host.F3})
		return Address{IP: netip.AddrPortFrom(host, ipv4.Port)}
	case socketserver_handler_types.AddressIpv6:
		ipv6 := address.Ipv6()
		var bytes [16]byte
		for i, group := range [8]uint16{
			ipv6.Host.F0, ipv6.Host.F1, ipv6.Host.F2, ipv6.Host.F3,
			ipv6.Host.F4, ipv6.Host.F5, ipv6.Host.F6, ipv6.Host.F7,
		} {
			binary.BigEndian.PutUint16(bytes[2*i:], group)
		}
		host := netip.AddrFrom16(bytes)
		if ipv6.ScopeId != 0 {
			host = host.WithZone(strconv.FormatUint(uint64(ipv6.ScopeId), 10))
		}
		return Address{IP: netip.AddrPortFrom(host, ipv6.Port)}
	default:
		unix := address.Unix()
		switch unix.Tag() {
		case socketserver_handler_types.UnixAddressPathname:
			return Address{Unix: string(unix.Pathname())}
		case socketserver_handler_types.UnixAddressAbstract:
			return Address{Unix: "\x00" + string(unix.Abstract())}
		}
		return Address{}
	}
}
