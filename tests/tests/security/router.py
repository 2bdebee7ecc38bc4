"""A ROUTER of libzmq with CURVE and heartbeats: says where it listens, and answers late."""

import sys
import time

import zmq
import zmq.auth

public, secret = zmq.auth.load_certificate(sys.argv[1])
socket = zmq.Context.instance().socket(zmq.ROUTER)
socket.curve_server = True
socket.curve_publickey, socket.curve_secretkey = public, secret
socket.setsockopt(zmq.HEARTBEAT_IVL, 100)
socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 300)
print(socket.bind_to_random_port("tcp://127.0.0.1"), flush=True)
while True:
    peer, body = socket.recv_multipart()
    time.sleep(1)
    socket.send_multipart([peer, b"heard " + body])
