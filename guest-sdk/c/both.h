// Handlers of connections and of datagrams in one component, which serves both kinds of sockets. Each
// source file includes this header before the others, and before <stdio.h>.
//
// A handler of connections is a function after SS_EXPORT (socketserver.h) or SS_EXPORT_STREAM_FILES
// (stream_files.h), and one of datagrams after SS_EXPORT_DATAGRAM or SS_EXPORT_DATAGRAM_FILES
// (datagram.h). A component has one of each. The two share code only: each request has an instance
// of its own.
#ifndef SOCKETSERVER_BOTH_H
#define SOCKETSERVER_BOTH_H

#if defined SOCKETSERVER_BINDINGS_H
#error "include both.h before the other headers of socketserver"
#endif
#define SOCKETSERVER_BOTH
#include "stream_files.h"

#include "datagram.h"

#endif
