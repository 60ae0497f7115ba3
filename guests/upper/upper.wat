;; The `MyTCPHandler` of Python's documentation, written by hand: one recv(1024),
;; then strip, upper and sendall. It needs no toolchain, so the host embeds it as
;; its default handler.
(component $upper
  ;; The contract: the part of wit/ that this handler uses.
  (import "socketserver:handler/types@0.1.0" (instance $types
    (type $ipv4-record (record (field "host" (tuple u8 u8 u8 u8)) (field "port" u16)))
    (export "ipv4-address" (type $ipv4 (eq $ipv4-record)))
    (type $ipv6-record (record
      (field "host" (tuple u16 u16 u16 u16 u16 u16 u16 u16)) (field "port" u16)
      (field "flowinfo" u32) (field "scope-id" u32)))
    (export "ipv6-address" (type $ipv6 (eq $ipv6-record)))
    (type $unix-variant (variant (case "unnamed") (case "pathname" (list u8)) (case "abstract" (list u8))))
    (export "unix-address" (type $unix (eq $unix-variant)))
    (type $address-variant (variant (case "ipv4" $ipv4) (case "ipv6" $ipv6) (case "unix" $unix)))
    (export "address" (type (eq $address-variant)))
    (type $error-enum (enum
      "timed-out" "would-block" "in-progress" "already" "closed" "denied" "connection-reset"
      "connection-aborted" "connection-refused" "broken-pipe" "not-connected" "is-connected"
      "address-in-use" "address-not-available" "address-family-not-supported"
      "destination-address-required" "host-unreachable" "network-unreachable" "network-down"
      "message-too-long" "invalid-argument" "no-such-file" "no-protocol-option"
      "protocol-not-supported" "wrong-protocol-type" "not-supported" "no-buffer-space"
      "not-enough-memory" "too-many-open-files" "other"))
    (export "error-code" (type (eq $error-enum)))))
  (alias export $types "address" (type $address))
  (alias export $types "error-code" (type $error-code))
  (import "socketserver:handler/sockets@0.1.0" (instance $sockets
    (alias outer $upper $error-code (type $error))
    (export "error-code" (type $error-code (eq $error)))
    (export "socket" (type $socket (sub resource)))
    (export "[method]socket.recv" (func
      (param "self" (borrow $socket)) (param "bufsize" u32)
      (result (result (list u8) (error $error-code)))))
    (export "[method]socket.sendall" (func
      (param "self" (borrow $socket)) (param "data" (list u8))
      (result (result (error $error-code)))))))
  (alias export $sockets "socket" (type $socket))

  (core module $libc
    (memory (export "memory") 1)
    ;; All data from the host, at most 1024 bytes at a time, is stored at address 1024.
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $recv (canon lower (func $sockets "[method]socket.recv") (memory $memory) (realloc $realloc)))
  (core func $sendall (canon lower (func $sockets "[method]socket.sendall") (memory $memory)))

  (core module $handler
    (import "libc" "memory" (memory 1))
    (import "sockets" "recv" (func $recv (param $self i32) (param $bufsize i32) (param $result i32)))
    (import "sockets" "sendall" (func $sendall (param $self i32) (param $data i32) (param $length i32) (param $result i32)))
    (data (i32.const 256) "recv failed")
    (data (i32.const 288) "sendall failed")
    (global $request (mut i32) (i32.const 0))

    ;; The parameters are the handle of the request and the client's address, which is
    ;; not used.
    (func (export "setup")
      (param $request i32) (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
      (global.set $request (local.get $request))
      (i32.const 0)) ;; The memory at 0 is zero: ok.

    (func (export "handle") (result i32)
      (local $start i32) (local $end i32) (local $at i32)
      (call $recv (global.get $request) (i32.const 1024) (i32.const 16))
      (if (i32.load8_u (i32.const 16))
        (then (return (call $error (i32.const 256) (i32.const 11)))))
      (local.set $start (i32.load (i32.const 20)))
      (local.set $end (i32.add (local.get $start) (i32.load (i32.const 24))))
      ;; strip
      (block $stripped
        (loop $strip
          (br_if $stripped (i32.ge_u (local.get $start) (local.get $end)))
          (br_if $stripped (i32.eqz (call $is_space (local.get $start))))
          (local.set $start (i32.add (local.get $start) (i32.const 1)))
          (br $strip)))
      (block $stripped
        (loop $strip
          (br_if $stripped (i32.ge_u (local.get $start) (local.get $end)))
          (br_if $stripped (i32.eqz (call $is_space (i32.sub (local.get $end) (i32.const 1)))))
          (local.set $end (i32.sub (local.get $end) (i32.const 1)))
          (br $strip)))
      ;; upper
      (local.set $at (local.get $start))
      (block $done
        (loop $upper
          (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
          (if (i32.lt_u (i32.sub (i32.load8_u (local.get $at)) (i32.const 97)) (i32.const 26))
            (then (i32.store8 (local.get $at) (i32.sub (i32.load8_u (local.get $at)) (i32.const 32)))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $upper)))
      (call $sendall (global.get $request)
        (local.get $start) (i32.sub (local.get $end) (local.get $start)) (i32.const 32))
      (if (i32.load8_u (i32.const 32))
        (then (return (call $error (i32.const 288) (i32.const 14)))))
      (i32.const 0))

    (func (export "finish") (result i32) (i32.const 0))

    ;; Space, and TAB to CR: the bytes that bytes.strip() removes.
    (func $is_space (param $at i32) (result i32)
      (i32.or
        (i32.eq (i32.load8_u (local.get $at)) (i32.const 32))
        (i32.lt_u (i32.sub (i32.load8_u (local.get $at)) (i32.const 9)) (i32.const 5))))

    (func $error (param $message i32) (param $length i32) (result i32)
      (i32.store8 (i32.const 48) (i32.const 1))
      (i32.store (i32.const 52) (local.get $message))
      (i32.store (i32.const 56) (local.get $length))
      (i32.const 48)))
  (core instance $handler (instantiate $handler
    (with "libc" (instance $libc))
    (with "sockets" (instance
      (export "recv" (func $recv))
      (export "sendall" (func $sendall))))))

  (func $setup (param "request" (own $socket)) (param "client-address" $address) (result (result (error string)))
    (canon lift (core func $handler "setup") (memory $memory) (realloc $realloc)))
  (func $handle (result (result (error string)))
    (canon lift (core func $handler "handle") (memory $memory)))
  (func $finish (result (result (error string)))
    (canon lift (core func $handler "finish") (memory $memory)))

  ;; An exported function may only name types that are imported or exported:
  ;; this gives the three functions the types of the contract.
  (component $stream-request
    (import "socket" (type $socket (sub resource)))
    (type $ipv4-record (record (field "host" (tuple u8 u8 u8 u8)) (field "port" u16)))
    (import "ipv4-address" (type $ipv4 (eq $ipv4-record)))
    (type $ipv6-record (record
      (field "host" (tuple u16 u16 u16 u16 u16 u16 u16 u16)) (field "port" u16)
      (field "flowinfo" u32) (field "scope-id" u32)))
    (import "ipv6-address" (type $ipv6 (eq $ipv6-record)))
    (type $unix-variant (variant (case "unnamed") (case "pathname" (list u8)) (case "abstract" (list u8))))
    (import "unix-address" (type $unix (eq $unix-variant)))
    (type $address-variant (variant (case "ipv4" $ipv4) (case "ipv6" $ipv6) (case "unix" $unix)))
    (import "address" (type $address (eq $address-variant)))
    (import "setup" (func $setup (param "request" (own $socket)) (param "client-address" $address) (result (result (error string)))))
    (import "handle" (func $handle (result (result (error string)))))
    (import "finish" (func $finish (result (result (error string)))))
    (export $exported-socket "socket" (type $socket))
    (export $exported-address "address" (type $address))
    (export "setup" (func $setup) (func (param "request" (own $exported-socket)) (param "client-address" $exported-address) (result (result (error string)))))
    (export "handle" (func $handle) (func (result (result (error string)))))
    (export "finish" (func $finish) (func (result (result (error string))))))
  (alias export $types "ipv4-address" (type $ipv4))
  (alias export $types "ipv6-address" (type $ipv6))
  (alias export $types "unix-address" (type $unix))
  (instance $stream-request (instantiate $stream-request
    (with "socket" (type $socket))
    (with "ipv4-address" (type $ipv4))
    (with "ipv6-address" (type $ipv6))
    (with "unix-address" (type $unix))
    (with "address" (type $address))
    (with "setup" (func $setup))
    (with "handle" (func $handle))
    (with "finish" (func $finish))))
  (export "socketserver:handler/stream-request@0.1.0" (instance $stream-request)))
