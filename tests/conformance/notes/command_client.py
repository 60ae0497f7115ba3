import socket
import sys
client = socket.socket()
client.connect(("localhost",9999))

while True:
    msg = input(">>:").strip()
    if len(msg) == 0:continue
    client.send( msg.encode("utf-8") )

    res_return_size  = client.recv(1024)
    print("getting cmd result , ", res_return_size)
    total_rece_size = int(res_return_size)
    print("total size:",res_return_size)
    client.send("准备好接收了,发吧loser".encode("utf-8"))
    received_size = 0
    cmd_res = b''
    f = open("test_copy.html","wb")
    while received_size != total_rece_size:
        data = client.recv(1024)
        received_size += len(data)
        cmd_res += data
    else:
        print("数据收完了",received_size)
        #print(cmd_res.decode())
        f.write(cmd_res)
    #print(data.decode())
client.close()
