//! A registry on 127.0.0.1 that does what a test tells it to.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use coracle_image::Digest;

use super::{MANIFEST, Sample};

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub headers: HashMap<String, String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What is answered.
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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (requests.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, answer) = (log.clone(), answer.clone());
                thread::spawn(move || serve(stream, &log, &*answer));
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
        let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        match range.map(|start| start.parse::<usize>().unwrap()) {
            Some(start) => Response::new(206, &body[start..])
                .with("content-range", format!("bytes {start}-{}/{}", body.len() - 1, body.len())),
            None => Response::new(200, body.clone()),
        }
        .with("content-type", *kind)
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Request>>, answer: &(dyn Fn(&Request) -> Response + Sync)) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(path) = lines.next().and_then(|line| Some(line.split(' ').nth(1)?.to_owned())) else { return };
    let headers = lines.take_while(|line| !line.is_empty());
    let headers = headers.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    let request = Request { path, headers: headers.collect() };
    log.lock().unwrap().push(request.clone());
    let response = answer(&request);
    let mut head = format!("HTTP/1.1 {} Whatever\r\nconnection: close\r\n", response.status);
    if response.flaw != Flaw::Endless {
        head.push_str(&format!("content-length: {}\r\n", response.body.len()));
    }
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    // A client that has seen enough hangs up: that is its right.
    let _ = stream.write_all(head.as_bytes());
    let whole = response.body.as_slice();
    let body = if let Flaw::CutAfter(length) = response.flaw { &whole[..length.min(whole.len())] } else { whole };
    let _ = stream.write_all(body);
    let zeros = vec![0; 65536];
    while response.flaw == Flaw::Endless && stream.write_all(&zeros).is_ok() {}
}
