"""The modules under CPython's `socketserver` in a component.

A build runs the file of a user as `__main__`, with CPython's own library. The modules here take
the place of what the library is made of: sockets, threads and processes. The servers that the
file makes are recorded, not started, and stay in the memory of the component. A request calls
the recorded server as the loop of `serve_forever` does.

| module | content |
|---|---|
| `heap` | the memory of the component |
| `constants` | the numbers of the constants of `socket`, as on Linux |
| `names` | names of hosts and services |
| `addresses` | addresses of the contract, and of Python |
| `errors` | the exceptions for the errors of the contract |
| `phase` | the phase: the build, or a request |
| `link` | a socket of the host |
| `network` | sockets that a handler opens, and names that it looks up |
| `tls` | facts about the TLS of a connection |
| `sockets` | the module `_socket` |
| `sendfile` | files that the kernel sends |
| `polling` | the module `select` |
| `streams` | standard output and standard error |
| `waiting` | calls that would wait for another thread |
| `threads` | threads |
| `processes` | `fork`, `_exit`, signals and programs |
| `recording` | the servers that the file makes |
| `report` | the servers of the file, for the host |
| `library` | imports during requests |
| `shared` | changes that no other request sees |
| `request` | a request |
| `warm` | requests that a build serves |
| `component` | the order of a build, and the exports of the component |
| `handler` | the same for a handler on the contract, which needs no other module than `heap` |

Each imports only modules above it.
"""
