// Sends its input back in upper case, as the page about handlers shows it. It allocates much, and
// prints.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

func main() {
	text, _ := io.ReadAll(os.Stdin)
	fmt.Fprintln(os.Stderr, "read", len(text))
	os.Stdout.Write(bytes.ToUpper(text))
}
