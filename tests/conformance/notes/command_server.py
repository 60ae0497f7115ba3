import socket
import os,subprocess

server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("localhost",9999))
server.listen()

while True:
    print("等待客户端的连接...")
    conn,addr = server.accept()
    print("新连接:",addr )
    while True:
        data = conn.recv(1024)
        if not data:
            print("客户端断开了...")
            break
        print("收到命令:",data)
        #res = os.popen(data.decode()).read()
        res = subprocess.Popen(data,shell=True,stdout=subprocess.PIPE).stdout.read()
        if len(res) == 0:
            res = "cmd exec success,has not output!".encode("utf-8")
        conn.send(str(len(res)).encode("utf-8"))
        print("等待客户ack应答...")
        client_final_ack = conn.recv(1024)
        print("客户应答:",client_final_ack.decode())
        print(type(res))
        conn.sendall(res)
server.close()
