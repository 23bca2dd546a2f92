"""Load inside the pod that goes on until the sidecar has not been ready for two seconds: as clients behind a
Service, which is told of readiness a little late. Prints how many answers were right, and what was not.
"""

import http.client
import json
import sys
import threading
import time
import urllib.error
import urllib.request

CLIENTS = 8
LATE_SECONDS = 2.0
LONGEST_SECONDS = 40.0

is_over = threading.Event()
right, wrong = [], []


def client(number):
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=15)
    count = 0
    while not is_over.is_set():
        count += 1
        # Hits, misses, and answers that take their time: some are under way whenever the end comes.
        target = ("/0/hit", f"/5/{number}/{count}", f"/300/{number}/{count}")[count % 3]
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            wrong.append(repr(error))
            connection.close()
            continue
        is_right = answer.status == 200 and body == target.encode()
        (right if is_right else wrong).append(f"{answer.status} {target}")
    connection.close()


def is_ready():
    try:
        return urllib.request.urlopen("http://127.0.0.1:9901/readyz", timeout=5).status == 200
    except urllib.error.HTTPError:
        return False


clients = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
for thread in clients:
    thread.start()
sys.stdout.write("under load\n")
sys.stdout.flush()
end = time.monotonic() + LONGEST_SECONDS
while is_ready() and time.monotonic() < end:
    time.sleep(0.1)
time.sleep(LATE_SECONDS)
is_over.set()
for thread in clients:
    thread.join()
sys.stdout.write(json.dumps({"right": len(right), "wrong": wrong}))
