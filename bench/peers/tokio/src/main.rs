//! Tokio, on one thread (current_thread), in every workload. The same form as the other
//! contenders: workloads WORKLOAD ARGS...

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openssl::ssl::{Ssl, SslAcceptor, SslFiletype, SslMethod};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, Mutex};
use tokio::task::yield_now;
use tokio::time;

fn fail(reason: &str) -> ! {
    eprintln!("tokio: {reason}");
    exit(2)
}

/// What follows the name of the workload.
struct Args(Vec<String>);

impl Args {
    fn text(&self, i: usize) -> &str {
        self.0
            .get(i)
            .unwrap_or_else(|| fail("an argument is missing"))
    }

    fn number(&self, i: usize) -> usize {
        match self.text(i).parse() {
            Ok(n) if n > 0 => n,
            _ => fail("an argument is no positive number"),
        }
    }
}

fn per(start: Instant, n: usize) {
    println!(
        "RESULT ns={:.1}",
        start.elapsed().as_nanos() as f64 / n as f64
    );
}

async fn spawn_and_await(n: usize) {
    let mut sum = 0;
    for i in 0..n {
        sum += tokio::spawn(async move { black_box(i) }).await.unwrap();
    }
    assert_eq!(sum, n * (n - 1) / 2);
}

async fn spawn(n: usize) {
    let start = Instant::now();
    spawn_and_await(n).await;
    per(start, n);
}

async fn spawn_busy(n: usize) {
    let over = Arc::new(AtomicBool::new(false));
    let seen = over.clone();
    let busy = tokio::spawn(async move {
        while !seen.load(Ordering::Relaxed) {
            yield_now().await;
        }
    });
    let start = Instant::now();
    spawn_and_await(n).await;
    per(start, n);
    over.store(true, Ordering::Relaxed);
    busy.await.unwrap();
}

async fn gather(n: usize) {
    let start = Instant::now();
    let tasks: Vec<_> = (0..n)
        .map(|i| tokio::spawn(async move { black_box(i) }))
        .collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.unwrap();
    }
    assert_eq!(sum, n * (n - 1) / 2);
    per(start, n);
}

/// Runs what `f` makes as several tasks at once.
async fn each<F: Future<Output = ()> + Send + 'static>(tasks: usize, f: impl Fn() -> F) {
    let tasks: Vec<_> = (0..tasks).map(|_| tokio::spawn(f())).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn yielding(tasks: usize, times: usize) {
    let start = Instant::now();
    each(tasks, || async move {
        for _ in 0..times {
            yield_now().await;
        }
    })
    .await;
    per(start, tasks * times);
}

async fn ping_pong(n: usize) {
    let (there, mut arrived) = mpsc::channel(1);
    let (answer, mut back) = mpsc::channel(1);
    let start = Instant::now();
    let other = tokio::spawn(async move {
        for _ in 0..n / 2 {
            let x: usize = arrived.recv().await.unwrap();
            answer.send(x).await.unwrap();
        }
    });
    for i in 0..n / 2 {
        there.send(i).await.unwrap();
        assert_eq!(back.recv().await, Some(i));
    }
    other.await.unwrap();
    per(start, n);
}

async fn prod_cons(n: usize) {
    let (put, mut get) = mpsc::channel(100);
    let start = Instant::now();
    let producer = tokio::spawn(async move {
        for i in 0..n {
            put.send(i).await.unwrap();
        }
    });
    let mut sum = 0;
    for _ in 0..n {
        sum += get.recv().await.unwrap();
    }
    assert_eq!(sum, n * (n - 1) / 2);
    producer.await.unwrap();
    per(start, n);
}

async fn lock(tasks: usize, times: usize) {
    let mutex = Arc::new(Mutex::new(()));
    let start = Instant::now();
    each(tasks, || {
        let mutex = mutex.clone();
        async move {
            for _ in 0..times {
                let held = mutex.lock().await;
                yield_now().await;
                drop(held);
            }
        }
    })
    .await;
    per(start, tasks * times);
}

/// A sequence of numbers between 0 and 1 that looks random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// CPU time that the process has used so far, in nanoseconds, by the kernel's schedstat.
fn cpu_time() -> f64 {
    let mut sum = 0.0;
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let stat = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        sum += stat.split(' ').next().unwrap().parse::<f64>().unwrap();
    }
    sum
}

async fn timers(n: usize) {
    let mut random = Random(88172645463325252);
    let mut late = Vec::with_capacity(n);
    let used = cpu_time();
    let tasks: Vec<_> = (0..n)
        .map(|_| {
            let d = Duration::from_nanos((random.next() * 1e9) as u64);
            tokio::spawn(async move {
                let start = Instant::now();
                time::sleep(d).await;
                (start.elapsed() - d).as_nanos() as f64 / 1e3
            })
        })
        .collect();
    for task in tasks {
        late.push(task.await.unwrap());
    }
    let used = cpu_time() - used;
    late.sort_by(f64::total_cmp);
    println!(
        "RESULT ns={:.1} late50={:.1} late99={:.1}",
        used / n as f64,
        late[n / 2],
        late[n * 99 / 100]
    );
}

async fn timeout(n: usize) {
    let start = Instant::now();
    for i in 0..n {
        time::timeout(Duration::from_secs(10), async { black_box(i) })
            .await
            .unwrap();
    }
    per(start, n);
}

async fn timeout_yield(n: usize) {
    let start = Instant::now();
    for _ in 0..n {
        time::timeout(Duration::from_secs(10), yield_now())
            .await
            .unwrap();
    }
    per(start, n);
}

type Callback = Box<dyn FnOnce(&mut usize) + Send>;

async fn cross_post(n: usize) {
    let (post, mut posted) = mpsc::unbounded_channel::<Callback>();
    let mut left = n;
    let start = Instant::now();
    std::thread::spawn(move || {
        for _ in 0..n {
            let _ = post.send(Box::new(|left| *left -= 1));
        }
    });
    while left > 0 {
        posted.recv().await.unwrap()(&mut left);
    }
    per(start, n);
}

async fn cross_round_trip(n: usize) {
    let (ask, mut asked) = mpsc::unbounded_channel();
    let (answer, answers) = std::sync::mpsc::channel();
    let start = Instant::now();
    std::thread::spawn(move || {
        for i in 0..n {
            ask.send(i).unwrap();
            answers.recv().unwrap();
        }
    });
    while let Some(i) = asked.recv().await {
        answer.send(i).unwrap();
    }
    per(start, n);
}

async fn sleep(n: usize, seconds: usize) {
    let d = Duration::from_secs(seconds as u64);
    let start = Instant::now();
    each(n, || async move { time::sleep(d).await }).await;
    println!("RESULT over={:.3}", (start.elapsed() - d).as_secs_f64());
}

/// Sends back what arrives, through a buffer of so many bytes.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut s: S, size: usize) {
    let mut p = vec![0; size];
    loop {
        match s.read(&mut p).await {
            Ok(0) | Err(_) => return,
            Ok(n) => {
                if s.write_all(&p[..n]).await.is_err() || s.flush().await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn listen(port: usize) -> TcpListener {
    TcpListener::bind(("127.0.0.1", port as u16)).await.unwrap()
}

async fn accept(l: &TcpListener) -> TcpStream {
    let (s, _) = l.accept().await.unwrap();
    s.set_nodelay(true).unwrap();
    s
}

/// echo PORT [SIZE], where SIZE is that of the buffer which a connection is read into.
async fn echo(port: usize, size: usize) {
    let l = listen(port).await;
    loop {
        tokio::spawn(answer(accept(&l).await, size));
    }
}

async fn tls(port: usize, cert: &str, key: &str) {
    let mut b = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    b.set_certificate_chain_file(cert).unwrap();
    b.set_private_key_file(key, SslFiletype::PEM).unwrap();
    let acceptor = b.build();
    let l = listen(port).await;
    loop {
        let plain = accept(&l).await;
        let ssl = Ssl::new(acceptor.context()).unwrap();
        tokio::spawn(async move {
            let mut s = tokio_openssl::SslStream::new(ssl, plain).unwrap();
            if Pin::new(&mut s).accept().await.is_ok() {
                answer(s, 1 << 16).await;
            }
        });
    }
}

async fn run(name: String, a: Args) {
    match name.as_str() {
        "spawn" => spawn(a.number(0)).await,
        "spawnbusy" => spawn_busy(a.number(0)).await,
        "gather" => gather(a.number(0)).await,
        "yield" => yielding(a.number(0), a.number(1)).await,
        "pingpong" => ping_pong(a.number(0)).await,
        "prodcons" => prod_cons(a.number(0)).await,
        "lock" => lock(a.number(0), a.number(1)).await,
        "timers" => timers(a.number(0)).await,
        "timeout" => timeout(a.number(0)).await,
        "timeouty" => timeout_yield(a.number(0)).await,
        "xpost" => cross_post(a.number(0)).await,
        "xrtt" => cross_round_trip(a.number(0)).await,
        "sleep" => sleep(a.number(0), a.number(1)).await,
        "echo" if a.0.len() > 1 => echo(a.number(0), a.number(1)).await,
        "echo" => echo(a.number(0), 1 << 16).await,
        "tls" => tls(a.number(0), a.text(1), a.text(2)).await,
        _ => exit(3),
    }
}

fn main() {
    let mut words = std::env::args().skip(1);
    let name = words
        .next()
        .unwrap_or_else(|| fail("usage: workloads WORKLOAD ARGS..."));
    let args = Args(words.collect());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // As a task, so that whatever awaits is one.
    runtime.block_on(async { tokio::spawn(run(name, args)).await.unwrap() });
}
