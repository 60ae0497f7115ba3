// The generated bindings that the other headers here stand on: those of both kinds for a handler
// that includes both.h first, those of datagrams for one that includes datagram.h first, and those
// of connections for all others. They have the same imports, and other names for the types below.
#ifndef SOCKETSERVER_BINDINGS_H
#define SOCKETSERVER_BINDINGS_H

#if defined SOCKETSERVER_BOTH
#include "both_handler.h"
typedef both_handler_string_t ss_string;
typedef both_handler_list_u8_t ss_bytes;
typedef both_handler_list_u32_t ss_numbers;
typedef both_handler_tuple3_string_string_u32_t ss_tls_facts;
#define ss_string_dup_n both_handler_string_dup_n
#define ss_string_free both_handler_string_free
#define ss_bytes_free both_handler_list_u8_free
#elif defined SOCKETSERVER_DATAGRAM
#include "datagram_handler.h"
typedef datagram_handler_string_t ss_string;
typedef datagram_handler_list_u8_t ss_bytes;
typedef datagram_handler_list_u32_t ss_numbers;
typedef datagram_handler_tuple3_string_string_u32_t ss_tls_facts;
#define ss_string_dup_n datagram_handler_string_dup_n
#define ss_string_free datagram_handler_string_free
#define ss_bytes_free datagram_handler_list_u8_free
#else
#include "stream_handler.h"
typedef stream_handler_string_t ss_string;
typedef stream_handler_list_u8_t ss_bytes;
typedef stream_handler_list_u32_t ss_numbers;
typedef stream_handler_tuple3_string_string_u32_t ss_tls_facts;
#define ss_string_dup_n stream_handler_string_dup_n
#define ss_string_free stream_handler_string_free
#define ss_bytes_free stream_handler_list_u8_free
#endif

#endif
