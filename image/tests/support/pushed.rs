//! What an in-process registry does with what is pushed to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use coracle_image::Digest;

use super::registry::{Request, Response};

/// The content of a registry, filled by pushes.
#[derive(Clone, Default)]
pub struct Pushed(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    /// By digest.
    blobs: HashMap<String, Vec<u8>>,
    /// By path.
    manifests: HashMap<String, Vec<u8>>,
    /// Uploads under way, by number.
    uploads: Vec<Vec<u8>>,
}

impl Pushed {
    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.0.lock().unwrap().blobs.get(digest.as_str()).cloned()
    }

    /// `path` is such as `app/manifests/1`.
    pub fn manifest(&self, path: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().manifests.get(&format!("/v2/{path}")).cloned()
    }

    /// Adds to an upload behind the client's back.
    pub fn slip_in(&self, request: &Request, bytes: &[u8]) {
        let upload = number(&request.path);
        self.0.lock().unwrap().uploads[upload].extend_from_slice(bytes);
    }

    /// The honest answer. Locations are relative, and have a query that must come back.
    pub fn answer(&self, request: &Request) -> Response {
        let mut content = self.0.lock().unwrap();
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let name = path.rsplit('/').next().unwrap_or_default();
        let location = |upload: usize| format!("/v2/app/blobs/uploads/{upload}?_state=s{upload}");
        if path.contains("/blobs/uploads/") && !name.is_empty() {
            let upload = number(&request.path);
            assert!(query.starts_with(&format!("_state=s{upload}")), "{query}");
        }
        match request.method.as_str() {
            "GET" | "HEAD" if path.contains("/manifests/") => match content.manifests.get(path) {
                Some(bytes) => Response::new(200, bytes.clone()),
                None => Response::new(404, "{}"),
            },
            "GET" if path.contains("/uploads/") => {
                let length = content.uploads[number(&request.path)].len();
                Response::new(204, "").with("range", format!("0-{}", length.saturating_sub(1)))
            }
            "GET" | "HEAD" if path.contains("/blobs/") => match content.blobs.get(name) {
                Some(bytes) => Response::new(200, bytes.clone()),
                None => Response::new(404, "{}"),
            },
            "POST" => {
                content.uploads.push(Vec::new());
                Response::new(202, "").with("location", location(content.uploads.len() - 1))
            }
            "PATCH" => {
                let upload = number(&request.path);
                let here = content.uploads[upload].len();
                if let Some(range) = request.header("content-range") {
                    let (first, last) = range.split_once('-').unwrap();
                    if first.parse::<usize>().unwrap() != here {
                        return Response::new(416, "{}");
                    }
                    assert_eq!(last.parse::<usize>().unwrap() + 1 - here, request.body.len());
                }
                content.uploads[upload].extend_from_slice(&request.body);
                let length = content.uploads[upload].len();
                Response::new(202, "").with("location", location(upload)).with("range", format!("0-{}", length - 1))
            }
            "PUT" if path.contains("/uploads/") => {
                let upload = number(&request.path);
                let mut bytes = std::mem::take(&mut content.uploads[upload]);
                bytes.extend_from_slice(&request.body);
                let digest = Digest::of(&bytes);
                let expected = query.split_once("digest=").unwrap().1.replace("%3A", ":");
                if digest.as_str() != expected {
                    return Response::new(400, r#"{"errors":[{"message":"digest invalid"}]}"#);
                }
                content.blobs.insert(expected, bytes);
                Response::new(201, "")
            }
            "PUT" => {
                let digest = Digest::of(&request.body);
                let folder = path.rsplit_once('/').unwrap().0;
                content.manifests.insert(path.to_owned(), request.body.clone());
                content.manifests.insert(format!("{folder}/{digest}"), request.body.clone());
                Response::new(201, "").with("docker-content-digest", digest.to_string())
            }
            "DELETE" => Response::new(204, ""),
            _ => Response::new(404, "{}"),
        }
    }
}

/// The number of an upload.
fn number(path: &str) -> usize {
    let path = path.split('?').next().unwrap();
    path.rsplit('/').next().unwrap().parse().unwrap()
}
