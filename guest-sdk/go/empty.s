// The compiler accepts functions without a body only in a package with an assembly file.
// Package socketserver links such functions to functions of the runtime.
