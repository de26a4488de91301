// Node with promises in every workload. The same form as the other contenders:
// node workloads.js WORKLOAD ARGS...
//
// A call of an async function begins at once, so that node creates no task in the sense of the
// others; and what yields with "await null" goes on before the loop looks at the network.
'use strict';
const fs = require('fs');
const net = require('net');
const tls = require('tls');
const { performance } = require('perf_hooks');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');

// What waits in order: an array that gives back its beginning.
class Fifo {
  constructor() { this.items = []; this.head = 0; }
  get length() { return this.items.length - this.head; }
  push(x) { this.items.push(x); }
  shift() {
    const x = this.items[this.head++];
    if (this.head > 1024) { this.items = this.items.slice(this.head); this.head = 0; }
    return x;
  }
}

class Queue {
  constructor(capacity) { this.capacity = capacity; this.items = new Fifo(); this.getters = new Fifo(); this.putters = new Fifo(); }
  async put(x) {
    while (this.items.length >= this.capacity) await new Promise(wake => this.putters.push(wake));
    this.items.push(x);
    if (this.getters.length) this.getters.shift()();
  }
  async get() {
    while (!this.items.length) await new Promise(wake => this.getters.push(wake));
    const x = this.items.shift();
    if (this.putters.length) this.putters.shift()();
    return x;
  }
}

class Lock {
  constructor() { this.held = false; this.waiters = new Fifo(); }
  async acquire() {
    if (!this.held) { this.held = true; return; }
    await new Promise(wake => this.waiters.push(wake));
  }
  release() {
    if (this.waiters.length) this.waiters.shift()();
    else this.held = false;
  }
}

function per(start, n) { console.log(`RESULT ns=${((performance.now() - start) * 1e6 / n).toFixed(1)}`); }
function expect(holds) { if (!holds) throw new Error('the workload computed something else than it should'); }

async function value(i) { return i; }

async function spawnAndAwait(n) {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += await value(i);
  expect(sum === n * (n - 1) / 2);
}

async function spawn(n) {
  const start = performance.now();
  await spawnAndAwait(n);
  per(start, n);
}

async function spawnBusy(n) {
  let over = false;
  const busy = (async () => { while (!over) await null; })();
  const start = performance.now();
  await spawnAndAwait(n);
  per(start, n);
  over = true;
  await busy;
}

async function gather(n) {
  const start = performance.now();
  const calls = new Array(n);
  for (let i = 0; i < n; i++) calls[i] = value(i);
  let sum = 0;
  for (const v of await Promise.all(calls)) sum += v;
  expect(sum === n * (n - 1) / 2);
  per(start, n);
}

async function each(n, f) {
  await Promise.all(Array.from({ length: n }, f));
}

async function yielding(tasks, times) {
  const start = performance.now();
  await each(tasks, async () => { for (let i = 0; i < times; i++) await null; });
  per(start, tasks * times);
}

async function pingPong(n) {
  const there = new Queue(1), back = new Queue(1);
  const start = performance.now();
  const other = (async () => { for (let i = 0; i < n / 2; i++) await back.put(await there.get()); })();
  for (let i = 0; i < n / 2; i++) {
    await there.put(i);
    expect(await back.get() === i);
  }
  await other;
  per(start, n);
}

async function prodCons(n) {
  const q = new Queue(100);
  const start = performance.now();
  const producer = (async () => { for (let i = 0; i < n; i++) await q.put(i); })();
  let sum = 0;
  for (let i = 0; i < n; i++) sum += await q.get();
  expect(sum === n * (n - 1) / 2);
  await producer;
  per(start, n);
}

async function lock(tasks, times) {
  const mutex = new Lock();
  const start = performance.now();
  await each(tasks, async () => {
    for (let i = 0; i < times; i++) {
      await mutex.acquire();
      await null;
      mutex.release();
    }
  });
  per(start, tasks * times);
}

async function timers(n) {
  const late = new Float64Array(n);
  let seed = 1;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const used = process.cpuUsage();
  await each(n, async (_, i) => {
    const d = random() * 1000;
    const start = performance.now();
    await new Promise(wake => setTimeout(wake, d));
    late[i] = performance.now() - start - d;
  });
  const { user, system } = process.cpuUsage(used);
  late.sort();
  const micros = ms => (ms * 1e3).toFixed(1);
  console.log(`RESULT ns=${((user + system) * 1e3 / n).toFixed(1)} late50=${micros(late[n >> 1])} late99=${micros(late[Math.floor(n * 0.99)])}`);
}

async function timeouts(n, f) {
  const start = performance.now();
  for (let i = 0; i < n; i++) {
    let timer;
    const expired = new Promise((_, reject) => { timer = setTimeout(reject, 10000); });
    await Promise.race([f(), expired]);
    clearTimeout(timer);
  }
  per(start, n);
}

async function callSoon(n) {
  let left = n;
  const start = performance.now();
  await new Promise(over => {
    const callback = () => { if (--left) setImmediate(callback); else over(); };
    setImmediate(callback);
  });
  per(start, n);
}

// A worker, which begins when it is told to.
function thread(work, n) { return new Worker(__filename, { workerData: { work, n } }); }

async function crossPost(n) {
  const other = thread('xpost', n);
  let left = n, start;
  await new Promise(over => {
    other.on('online', () => { start = performance.now(); other.postMessage(0); });
    other.on('message', () => { if (!--left) over(); });
  });
  per(start, n);
}

async function crossRoundTrip(n) {
  const other = thread('xrtt', n);
  let left = n, start;
  await new Promise(over => {
    other.on('online', () => { start = performance.now(); other.postMessage(0); });
    other.on('message', () => { if (--left) other.postMessage(0); else over(); });
  });
  per(start, n);
}

function work({ work, n }) {
  const answer = { xpost: () => { for (let i = 0; i < n; i++) parentPort.postMessage(i); }, xrtt: () => parentPort.postMessage(0) }[work];
  parentPort.on('message', answer);
}

async function sleep(n, seconds) {
  const start = performance.now();
  await each(n, async () => { await new Promise(wake => setTimeout(wake, seconds * 1000)); });
  over(start, seconds);
}

async function sleepCallback(n, seconds) {
  const start = performance.now();
  let left = n;
  await new Promise(done => {
    for (let i = 0; i < n; i++) setTimeout(() => { if (!--left) done(); }, seconds * 1000);
  });
  over(start, seconds);
}

function over(start, seconds) { console.log(`RESULT over=${((performance.now() - start) / 1e3 - seconds).toFixed(3)}`); }

// Sends back what arrives, and stops reading while the peer does.
function answer(socket) {
  socket.on('data', p => { if (!socket.write(p)) socket.pause(); });
  socket.on('drain', () => socket.resume());
  socket.on('error', () => {});
}

function listen(server, port) { server.listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 }); }

const workloads = {
  spawn, gather, lock, timers, sleep,
  spawnbusy: spawnBusy,
  yield: yielding,
  pingpong: pingPong,
  prodcons: prodCons,
  timeout: n => timeouts(n, async () => {}),
  timeouty: n => timeouts(n, async () => { await null; }),
  callsoon: callSoon,
  xpost: crossPost,
  xrtt: crossRoundTrip,
  sleepcb: sleepCallback,
  echo: port => listen(net.createServer({ noDelay: true }, answer), port),
  tls: (port, cert, key) => listen(tls.createServer({ noDelay: true, cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, answer), port),
};

async function main([name, ...args]) {
  if (!Object.hasOwn(workloads, name ?? '')) process.exit(name === undefined ? 2 : 3);
  const numbers = args.map(Number);
  await workloads[name](...args.map((a, i) => (Number.isNaN(numbers[i]) ? a : numbers[i])));
  if (name.startsWith('x')) process.exit(); // the worker would wait for more
}

if (isMainThread) main(process.argv.slice(2)); else work(workerData);
