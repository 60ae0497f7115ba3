// A program without an SDK: its standard input and output are the client. The first argument
// says what it does.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	mode := "cat"
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	switch mode {
	case "cat":
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "upper":
		text, _ := io.ReadAll(os.Stdin)
		fmt.Print(strings.ToUpper(string(text)))
	case "lines":
		scanner := bufio.NewScanner(os.Stdin)
		for number := 1; scanner.Scan(); number++ {
			fmt.Printf("%d: %s\n", number, scanner.Text())
		}
	case "env":
		for _, variable := range os.Environ() {
			fmt.Println(variable)
		}
	case "args":
		for _, argument := range os.Args {
			fmt.Printf("[%s]", argument)
		}
	case "exit":
		fmt.Println("bye")
		os.Exit(7)
	case "stderr":
		fmt.Fprintln(os.Stderr, "to the log")
		fmt.Println("to the client")
	case "ignore":
		fmt.Println("ignored")
	}
}
