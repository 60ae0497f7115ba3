module socketserver

go 1.25
