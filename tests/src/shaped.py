# A link that is as bad as it is told to be: between the tun devices HERE and THERE, which it makes, it carries packets.
# On stdin: a line of JSON with what changes, or `look`; what it says then is a line of JSON.
import fcntl, heapq, json, os, random, select, struct, sys, time

HERE, THERE = sys.argv[1:3]
shape = {"bits": 0, "queue_ms": 1000, "delay_ms": 0, "loss": 0.0, "loss_back": 0.0, "late": 0.0, "late_ms": 0, "twice": 0.0, "up": True}
shape.update(json.loads(sys.argv[3]))


def tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    end = time.monotonic() + 5
    while True:
        try:
            # A device of packets, without a header of its own.
            fcntl.ioctl(device, 0x400454CA, struct.pack("16sH", name.encode(), 0x1001))
            return device
        except OSError:
            # The one before may be on its way out.
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


here, there = tun(HERE), tun(THERE)
random.seed(1)
under_way, number, free = [], 0, 0.0
waits, carried, dropped = [], 0, 0
words = b""
os.set_blocking(0, False)
print("ready", flush=True)


def look():
    global waits, carried, dropped
    waits.sort()
    share = lambda part: waits[min(len(waits) - 1, int(len(waits) * part))] * 1000 if waits else 0
    print(json.dumps({"packets": len(waits), "bytes": carried, "dropped": dropped,
                      "queue_p50_ms": share(0.5), "queue_p95_ms": share(0.95), "queue_max_ms": share(1)}), flush=True)
    waits, carried, dropped = [], 0, 0


def down(packet, now):
    """From here to there: the link's rate, its queue, its faults."""
    global free, number, carried, dropped
    if not shape["up"] or random.random() < shape["loss"]:
        dropped += 1
        return
    wait = max(0.0, free - now)
    if wait * 1000 > shape["queue_ms"]:
        dropped += 1
        return
    waits.append(wait)
    carried += len(packet)
    free = now + wait + (len(packet) * 8 / shape["bits"] if shape["bits"] else 0)
    at = free + shape["delay_ms"] / 1000
    for _ in range(2 if random.random() < shape["twice"] else 1):
        late = shape["late_ms"] / 1000 if random.random() < shape["late"] else 0
        number += 1
        heapq.heappush(under_way, (at + late, number, there, packet))


def put(device, packet):
    try:
        os.write(device, packet)
    except OSError:
        pass


while True:
    now = time.monotonic()
    wait = max(0.0, under_way[0][0] - now) if under_way else 1.0
    for device in select.select([here, there, 0], [], [], wait)[0]:
        if device == 0:
            read = os.read(0, 65536)
            if not read:
                sys.exit()
            *lines, words = (words + read).split(b"\n")
            for line in lines:
                look() if line == b"look" else shape.update(json.loads(line))
            continue
        for _ in range(64):
            try:
                packet = os.read(device, 4096)
            except BlockingIOError:
                break
            now = time.monotonic()
            if device == here:
                down(packet, now)
            elif shape["up"] and random.random() >= shape["loss_back"]:
                number += 1
                heapq.heappush(under_way, (now + shape["delay_ms"] / 1000, number, here, packet))
    now = time.monotonic()
    while under_way and under_way[0][0] <= now:
        _, _, device, packet = heapq.heappop(under_way)
        put(device, packet)
