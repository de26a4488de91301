# Python's asyncio in every workload, on its own event loop or, with LOOP=uvloop, on uvloop's.
# The same form as the other contenders: python3 workloads.py WORKLOAD ARGS...
import asyncio
import os
import queue
import random
import resource
import ssl
import sys
import threading
import time


def per(start, n):
    print(f"RESULT ns={(time.perf_counter() - start) / n * 1e9:.1f}")


def cpu_time():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


async def value(i):
    return i


async def spawn_and_await(n):
    total = 0
    for i in range(n):
        total += await asyncio.create_task(value(i))
    assert total == n * (n - 1) // 2


async def spawn(n):
    start = time.perf_counter()
    await spawn_and_await(n)
    per(start, n)


async def spawnbusy(n):
    over = False

    async def ready():
        while not over:
            await asyncio.sleep(0)

    busy = asyncio.create_task(ready())
    start = time.perf_counter()
    await spawn_and_await(n)
    per(start, n)
    over = True
    await busy


async def gather(n):
    start = time.perf_counter()
    values = await asyncio.gather(*[asyncio.create_task(value(i)) for i in range(n)])
    assert sum(values) == n * (n - 1) // 2
    per(start, n)


async def each(tasks, f):
    async with asyncio.TaskGroup() as g:
        for _ in range(tasks):
            g.create_task(f())


async def yield_(tasks, times):
    async def one():
        for _ in range(times):
            await asyncio.sleep(0)

    start = time.perf_counter()
    await each(tasks, one)
    per(start, tasks * times)


async def pingpong(n):
    there, back = asyncio.Queue(1), asyncio.Queue(1)

    async def answer():
        for _ in range(n // 2):
            await back.put(await there.get())

    start = time.perf_counter()
    other = asyncio.create_task(answer())
    for i in range(n // 2):
        await there.put(i)
        assert await back.get() == i
    await other
    per(start, n)


async def prodcons(n):
    q = asyncio.Queue(100)

    async def produce():
        for i in range(n):
            await q.put(i)

    start = time.perf_counter()
    producer = asyncio.create_task(produce())
    total = 0
    for _ in range(n):
        total += await q.get()
    assert total == n * (n - 1) // 2
    await producer
    per(start, n)


async def lock(tasks, times):
    mutex = asyncio.Lock()

    async def one():
        for _ in range(times):
            async with mutex:
                await asyncio.sleep(0)

    start = time.perf_counter()
    await each(tasks, one)
    per(start, tasks * times)


async def timers(n):
    late = []

    async def one(d):
        start = time.perf_counter()
        await asyncio.sleep(d)
        late.append(time.perf_counter() - start - d)

    r = random.Random(1)
    used = cpu_time()
    async with asyncio.TaskGroup() as g:
        for _ in range(n):
            g.create_task(one(r.random()))
    used = cpu_time() - used
    late.sort()
    print(f"RESULT ns={used / n * 1e9:.1f} late50={late[n // 2] * 1e6:.1f} late99={late[n * 99 // 100] * 1e6:.1f}")


async def timeout(n):
    start = time.perf_counter()
    for i in range(n):
        async with asyncio.timeout(10):
            await value(i)
    per(start, n)


async def timeouty(n):
    start = time.perf_counter()
    for _ in range(n):
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
    per(start, n)


async def callsoon(n):
    loop, over, left = asyncio.get_running_loop(), asyncio.Event(), n

    def callback():
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(callback)
        else:
            over.set()

    start = time.perf_counter()
    loop.call_soon(callback)
    await over.wait()
    per(start, n)


async def xpost(n):
    loop, over, left = asyncio.get_running_loop(), asyncio.Event(), n

    def callback():
        nonlocal left
        left -= 1
        if not left:
            over.set()

    def post():
        for _ in range(n):
            loop.call_soon_threadsafe(callback)

    start = time.perf_counter()
    other = threading.Thread(target=post)
    other.start()
    await over.wait()
    per(start, n)
    other.join()


async def xrtt(n):
    loop, over, answers = asyncio.get_running_loop(), asyncio.Event(), queue.SimpleQueue()

    def ask():
        for i in range(n):
            loop.call_soon_threadsafe(answers.put, i)
            answers.get()
        loop.call_soon_threadsafe(over.set)

    start = time.perf_counter()
    other = threading.Thread(target=ask)
    other.start()
    await over.wait()
    per(start, n)
    other.join()


async def sleep(n, seconds):
    start = time.perf_counter()
    await each(n, lambda: asyncio.sleep(seconds))
    print(f"RESULT over={time.perf_counter() - start - seconds:.3f}")


async def sleepcb(n, seconds):
    loop, over, left = asyncio.get_running_loop(), asyncio.Event(), n

    def callback():
        nonlocal left
        left -= 1
        if not left:
            over.set()

    start = time.perf_counter()
    for _ in range(n):
        loop.call_later(seconds, callback)
    await over.wait()
    print(f"RESULT over={time.perf_counter() - start - seconds:.3f}")


async def serve_streams(port, context=None):
    async def answer(r, w):
        try:
            while p := await r.read(1 << 16):
                w.write(p)
                await w.drain()
        except OSError:
            pass
        w.close()

    s = await asyncio.start_server(answer, "127.0.0.1", port, backlog=4096, ssl=context)
    await s.serve_forever()


async def echo(port, *_):
    await serve_streams(port)


async def tls(port, cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    await serve_streams(port, context)


# A protocol that stops reading while its peer does.
class Echoing(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def echo_proto(port, *_):
    s = await asyncio.get_running_loop().create_server(Echoing, "127.0.0.1", port, backlog=4096)
    await s.serve_forever()


workloads = {
    "spawn": spawn,
    "spawnbusy": spawnbusy,
    "gather": gather,
    "yield": yield_,
    "pingpong": pingpong,
    "prodcons": prodcons,
    "lock": lock,
    "timers": timers,
    "timeout": timeout,
    "timeouty": timeouty,
    "callsoon": callsoon,
    "xpost": xpost,
    "xrtt": xrtt,
    "sleep": sleep,
    "sleepcb": sleepcb,
    "echo": echo,
    "echo-proto": echo_proto,
    "tls": tls,
}

if len(sys.argv) < 2:
    sys.exit("usage: workloads.py WORKLOAD ARGS...")
work = workloads.get(sys.argv[1])
if work is None:
    sys.exit(3)
main = work(*[int(a) if a.isdigit() else a for a in sys.argv[2:]])
if os.environ.get("LOOP") == "uvloop":
    import uvloop

    uvloop.install()
asyncio.run(main)
