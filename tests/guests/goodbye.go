// Prints in each way that Go has, flushes nothing, and prints in deferred functions. The first
// byte from the client selects the end: `s`, `h` and `f` an error of that function, `x` os.Exit.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"socketserver"
)

type Goodbye struct {
	socketserver.BaseRequestHandler
	ends string
}

func (h *Goodbye) step(initial, name string) error {
	defer fmt.Println(name + ", deferred")
	fmt.Println(name)
	if h.ends == initial {
		return errors.New(name)
	}
	return nil
}

func (h *Goodbye) Setup() error {
	data, err := h.Request.Recv(1)
	if err != nil {
		return err
	}
	h.ends = string(data)
	return h.step("s", "setup")
}

func (h *Goodbye) Handle() error {
	fmt.Print("half ")
	os.Stdout.WriteString("a line\n")
	println("an error")
	log.New(os.Stderr, "", 0).Print("a note")
	if h.ends == "x" {
		os.Exit(3)
	}
	return h.step("h", "handle")
}

func (h *Goodbye) Finish() error {
	defer fmt.Print("unfinished")
	return h.step("f", "finish")
}

func init() { socketserver.Export(&Goodbye{}) }

func main() {}
