// Handlers of connections and of datagrams in one component, which serves both kinds of sockets. Each
// source file includes this header before the others.
//
// SOCKETSERVER_EXPORT names the class of the handler of connections, and
// SOCKETSERVER_EXPORT_DATAGRAM the one of datagrams. The two share code only: each request has an
// instance of its own.
#pragma once

#ifdef SOCKETSERVER_BINDINGS_H
#error "include both.hpp before the other headers of socketserver"
#endif
#define SOCKETSERVER_BOTH
#include "socketserver.hpp"

#include "datagram.hpp"
