//! A load generator: connections that are kept and send one request after the other, and what they measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use chancery::kit::clock::Stopwatch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// A request as it goes over the wire, and the status that is right for it.
#[derive(Clone)]
pub struct Request {
    wire: Vec<u8>,
    status: u16,
}

impl Request {
    /// A request that should be answered with 200. Headers are whole lines.
    pub fn new(method: &str, path: &str, headers: &[&str], body: &str) -> Self {
        let headers = headers.iter().flat_map(|line| [line, "\r\n"]).collect::<String>();
        let length =
            if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
        let wire = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}{length}\r\n{body}");
        Self { wire: wire.into_bytes(), status: 200 }
    }

    /// A form of URL-safe values.
    pub fn form(path: &str, pairs: &[(&str, &str)]) -> Self {
        let body: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Self::new("POST", path, &["Content-Type: application/x-www-form-urlencoded"], &body.join("&"))
    }

    /// The same request with one more header.
    pub fn with_header(mut self, line: &str) -> Self {
        let end = self.wire.windows(2).position(|pair| pair == b"\r\n").map_or(0, |at| at + 2);
        self.wire.splice(end..end, format!("{line}\r\n").into_bytes());
        self
    }

    /// The same request with another right answer.
    pub fn expecting(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

/// A connection that is opened when it is first needed and again after the server closed it with an answer.
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, buffer: Vec::with_capacity(4096) }
    }

    /// The body of the right answer; anything else is an error, a connection that breaks off as well.
    pub async fn send(&mut self, request: &Request) -> Result<String> {
        let (status, body) = self.ask(request).await?;
        ensure!(status == request.status, "answered with {status}: {body}");
        Ok(body)
    }

    /// Status and body of any answer.
    pub async fn ask(&mut self, request: &Request) -> Result<(u16, String)> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address).await.context("connecting")?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(&request.wire).await.context("writing")?;
        let head = read_head(&mut stream, &mut self.buffer).await?;
        let whole = head.length + head.body;
        while self.buffer.len() < whole {
            let read = stream.read_buf(&mut self.buffer).await.context("reading the body")?;
            ensure!(read > 0, "the connection broke off within a body");
        }
        let body = String::from_utf8_lossy(&self.buffer[head.length..whole]).into_owned();
        if !head.closes {
            self.stream = Some(stream);
        }
        Ok((head.status, body))
    }

    /// The whole answer, head and body, of a server that closes behind it.
    pub async fn send_until_close(&mut self, request: &Request) -> Result<String> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(&request.wire).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

struct Head {
    status: u16,
    length: usize,
    body: usize,
    closes: bool,
}

async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Head> {
    buffer.clear();
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            return parse_head(std::str::from_utf8(&buffer[..end])?, end + 4);
        }
        let read = stream.read_buf(buffer).await.context("reading the head")?;
        ensure!(read > 0, "the connection broke off before the answer");
    }
}

fn parse_head(text: &str, length: usize) -> Result<Head> {
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?.parse()?;
    let (mut body, mut closes) = (None, false);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { bail!("a header without a colon: {line}") };
        if name.eq_ignore_ascii_case("content-length") {
            body = Some(value.trim().parse()?);
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.trim().eq_ignore_ascii_case("close");
        }
    }
    Ok(Head { status, length, body: body.context("an answer without a length")?, closes })
}

/// Requests that are sent in turn, by whichever connection is free.
pub struct Work {
    requests: Vec<Request>,
    /// Whether each is sent once only; else they begin again.
    once: bool,
    /// Whether the bodies of the answers are kept.
    keep: bool,
    next: AtomicUsize,
}

impl From<Vec<Request>> for Work {
    fn from(requests: Vec<Request>) -> Self {
        Self { requests, once: false, keep: false, next: AtomicUsize::new(0) }
    }
}

impl Work {
    /// Each request is sent once only.
    pub fn once(self) -> Self {
        Self { once: true, ..self }
    }

    /// The bodies of the answers are kept.
    pub fn keeping(self) -> Self {
        Self { keep: true, ..self }
    }

    fn next(&self) -> Option<&Request> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        let is_over = self.once && at >= self.requests.len();
        self.requests.get(at % self.requests.len().max(1)).filter(|_| !is_over)
    }
}

/// What a run measured.
#[derive(Default)]
pub struct Run {
    pub seconds: f64,
    pub bodies: Vec<String>,
    /// The time of each right answer, in seconds, ascending.
    pub times: Vec<f64>,
    pub failures: Vec<String>,
}

impl Run {
    pub fn per_second(&self) -> f64 {
        count(self.times.len()) / self.seconds
    }

    /// The time within which this part of the answers came, in milliseconds.
    pub fn percentile(&self, part: f64) -> f64 {
        percentile(&self.times, part)
    }
}

/// The same of times in seconds, ascending.
pub fn percentile(times: &[f64], part: f64) -> f64 {
    let last = times.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index, never negative")]
    let at = (count(last) * part).round() as usize;
    times.get(at).map_or(0.0, |seconds| seconds * 1000.0)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub fn count(number: usize) -> f64 {
    number as f64
}

/// Does the work over so many connections until `stop` or until it is done.
pub async fn drive(address: SocketAddr, connections: usize, work: Arc<Work>, stop: CancellationToken) -> Run {
    let watch = Stopwatch::start();
    let workers: Vec<_> =
        (0..connections).map(|_| tokio::spawn(take_turns(address, work.clone(), stop.clone()))).collect();
    let mut run = Run::default();
    for worker in workers {
        match worker.await {
            Ok(part) => {
                run.times.extend(part.times);
                run.bodies.extend(part.bodies);
                run.failures.extend(part.failures);
            }
            Err(error) => run.failures.push(error.to_string()),
        }
    }
    run.seconds = watch.seconds();
    run.times.sort_by(f64::total_cmp);
    run
}

async fn take_turns(address: SocketAddr, work: Arc<Work>, stop: CancellationToken) -> Run {
    let mut connection = Connection::new(address);
    let mut run = Run::default();
    while !stop.is_cancelled()
        && let Some(request) = work.next()
    {
        let watch = Stopwatch::start();
        match connection.send(request).await {
            Ok(body) => {
                run.times.push(watch.seconds());
                run.bodies.extend(Some(body).filter(|_| work.keep));
            }
            Err(error) => {
                let line =
                    String::from_utf8_lossy(&request.wire).lines().next().unwrap_or_default().to_owned();
                run.failures.push(format!("{line}: {error:#}"));
            }
        }
    }
    run
}

/// The same for a number of seconds at the most.
pub async fn drive_for(seconds: f64, address: SocketAddr, connections: usize, work: Arc<Work>) -> Run {
    let stop = CancellationToken::new();
    let timer = stop.clone();
    let timer = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_secs_f64(seconds)).await;
        timer.cancel();
    });
    let run = drive(address, connections, work, stop).await;
    timer.abort();
    run
}
