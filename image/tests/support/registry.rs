//! A registry on 127.0.0.1 that does what a test tells it to.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use coracle_image::Digest;
use rustls::ServerConfig;

use super::{MANIFEST, Sample};

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What is answered.
#[derive(Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub flaw: Flaw,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, PartialEq)]
pub enum Flaw {
    None,
    /// The connection ends after this many bytes of the body.
    CutAfter(usize),
    /// The body goes on for ever.
    Endless,
    /// The connection ends without an answer.
    HangUp,
}

impl Response {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Response {
        Response { status, headers: Vec::new(), body: body.into(), flaw: Flaw::None }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Response {
        self.headers.push((name, value.into()));
        self
    }

    pub fn flawed(mut self, flaw: Flaw) -> Response {
        self.flaw = flaw;
        self
    }
}

/// A server that notes what it was asked.
pub struct Registry {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Registry {
    pub fn new(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Registry {
        Registry::start(None, answer)
    }

    /// One that speaks HTTPS.
    pub fn with_tls(tls: Arc<ServerConfig>, answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Registry {
        Registry::start(Some(tls), answer)
    }

    fn start(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (requests.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, answer, tls) = (log.clone(), answer.clone(), tls.clone());
                thread::spawn(move || match tls {
                    None => serve(stream, &log, &*answer),
                    Some(tls) => {
                        let connection = rustls::ServerConnection::new(tls).unwrap();
                        let mut stream = rustls::StreamOwned::new(connection, stream);
                        serve(&mut stream, &log, &*answer);
                        stream.conn.send_close_notify();
                        // The client may have hung up.
                        let _ = stream.flush();
                    }
                });
            }
        });
        Registry { port, requests }
    }

    /// One that has these images under `app:TAG` and hides nothing.
    pub fn with(images: &[(&str, &Sample)]) -> Registry {
        Registry::new(answers(images))
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// How many requests had this in their path.
    pub fn count(&self, part: &str) -> usize {
        self.requests().iter().filter(|request| request.path.contains(part)).count()
    }
}

/// Honest answers for these images under `app:TAG`, ranges included.
pub fn answers(images: &[(&str, &Sample)]) -> impl Fn(&Request) -> Response + Send + Sync + 'static {
    let mut content: HashMap<String, (Vec<u8>, &'static str)> = HashMap::new();
    for (tag, image) in images {
        let manifest = image.manifest();
        content.insert(format!("/v2/app/manifests/{tag}"), (manifest.clone(), MANIFEST));
        content.insert(format!("/v2/app/manifests/{}", Digest::of(&manifest)), (manifest, MANIFEST));
        for blob in image.all_blobs() {
            content.insert(format!("/v2/app/blobs/{}", Digest::of(&blob)), (blob, "application/octet-stream"));
        }
    }
    move |request| {
        let Some((body, kind)) = content.get(&request.path) else { return Response::new(404, "{}") };
        match request.header("range").map(|range| span(range, body.len())) {
            Some(Some((from, to))) => Response::new(206, &body[from..to])
                .with("content-range", format!("bytes {from}-{}/{}", to - 1, body.len())),
            Some(None) => Response::new(416, "{}"),
            None => Response::new(200, body.clone()),
        }
        .with("content-type", *kind)
    }
}

/// First byte and the one after the last of a Range header.
fn span(range: &str, length: usize) -> Option<(usize, usize)> {
    let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let from: usize = from.parse().unwrap();
    let to = if to.is_empty() { length } else { (to.parse::<usize>().unwrap() + 1).min(length) };
    (from < length).then_some((from, to))
}

/// The body of a request, if it has one.
fn read_body(input: &mut impl BufRead, headers: &HashMap<String, String>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
        loop {
            let mut line = String::new();
            input.read_line(&mut line).ok()?;
            let length = u64::from_str_radix(line.trim(), 16).ok()?;
            input.take(length).read_to_end(&mut body).ok()?;
            input.read_line(&mut line).ok()?;
            if length == 0 {
                return Some(body);
            }
        }
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    input.take(length).read_to_end(&mut body).ok()?;
    Some(body)
}

fn serve(stream: impl Read + Write, log: &Mutex<Vec<Request>>, answer: &(dyn Fn(&Request) -> Response + Sync)) {
    let mut input = BufReader::new(stream);
    let mut lines = input.by_ref().lines().map_while(Result::ok);
    let Some(first) = lines.next() else {
        // As real ones answer what is no HTTP, for example TLS. Whoever only closed the connection does not see it.
        let _ = input.get_mut().write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
        return;
    };
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return };
    let headers = lines.take_while(|line| !line.is_empty());
    let headers = headers.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    let headers: HashMap<String, String> = headers.collect();
    let Some(body) = read_body(&mut input, &headers) else { return };
    let request = Request { method, path, headers, body };
    log.lock().unwrap().push(request.clone());
    let response = answer(&request);
    if response.flaw == Flaw::HangUp {
        return;
    }
    let mut head = format!("HTTP/1.1 {} Whatever\r\nconnection: close\r\n", response.status);
    if response.flaw != Flaw::Endless {
        head.push_str(&format!("content-length: {}\r\n", response.body.len()));
    }
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let stream = input.get_mut();
    // A client that has seen enough hangs up: that is its right.
    let _ = stream.write_all(head.as_bytes());
    let whole = if request.method == "HEAD" { &[] } else { response.body.as_slice() };
    let body = if let Flaw::CutAfter(length) = response.flaw { &whole[..length.min(whole.len())] } else { whole };
    let _ = stream.write_all(body);
    let zeros = vec![0; 65536];
    while response.flaw == Flaw::Endless && stream.write_all(&zeros).is_ok() {}
}
