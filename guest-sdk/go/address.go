package socketserver

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"socketserver/bindings/socketserver_handler_types"
)

// Address is the address of one end of a connection.
type Address struct {
	// IP is the IP address and the port. It is invalid for a Unix socket.
	IP netip.AddrPort
	// Unix is a path or, after a zero byte, an abstract name, as in Python.
	// It is empty for an unnamed socket and for an IP address.
	Unix string
}

func address(address socketserver_handler_types.Address) Address {
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
