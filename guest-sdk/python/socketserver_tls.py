"""Facts about the TLS of a connection, with the methods of `ssl.SSLSocket`."""

try:
    from wit_world.imports import tls as host
except ImportError:
    # The world has no interface `tls`.
    host = None

_NOT_IMPORTED = (
    "the handler has no interface `tls`: the build gives it to a handler whose own file calls "
    "version(), cipher(), selected_alpn_protocol() or getpeercert(), or has a line `# import tls`"
)
_NOT_PARSED = (
    "getpeercert() without binary_form=True: certificates are not parsed here. "
    "getpeercert(binary_form=True) returns the certificate in DER"
)


class Facts:
    """The methods of a socket. Its `_secured` returns the socket of the host, or None."""

    __slots__ = ()

    def version(self):
        return self._fact("version")

    def cipher(self):
        return self._fact("cipher")

    def selected_alpn_protocol(self):
        return self._fact("selected_alpn_protocol")

    def getpeercert(self, binary_form=False):
        certificate = self._fact("getpeercert")
        if certificate is None or binary_form:
            return certificate
        raise NotImplementedError(_NOT_PARSED)

    @property
    def server_hostname(self):
        """The name that the client asked for (SNI). In CPython this is an attribute of clients,
        and a server learns the name in `sni_callback`."""
        return self._fact("server_hostname")

    def _fact(self, name):
        if host is None:
            raise NotImplementedError(_NOT_IMPORTED)
        handle = self._secured()
        return None if handle is None else getattr(host, name)(handle)
