//! A way to a server on this machine that lets so many bytes of its answers through and no more.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// The valve; closed at first.
pub(crate) struct Valve {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    flow: Mutex<Flow>,
    changed: Condvar,
}

#[derive(Default)]
struct Flow {
    allowed: u64,
    passed: u64,
    /// Somebody waits for more.
    stuck: bool,
}

impl Valve {
    /// One before the server at `server`, a port of 127.0.0.1.
    pub(crate) fn before(server: u16) -> Valve {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let valve = Valve { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = valve.state.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { return };
                let (from, to, state) = (server.try_clone().unwrap(), client.try_clone().unwrap(), state.clone());
                thread::spawn(move || copy(client, server, |length| length));
                thread::spawn(move || copy(from, to, |length| state.take(length)));
            }
        });
        valve
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Lets further bytes through.
    pub(crate) fn let_through(&self, bytes: u64) {
        let mut flow = self.state.flow.lock().unwrap();
        flow.allowed = flow.allowed.saturating_add(bytes);
        flow.stuck = false;
        self.state.changed.notify_all();
    }

    /// Returns when all it may let through has passed, and somebody wants more.
    pub(crate) fn wait_until_closed(&self) {
        let flow = self.state.flow.lock().unwrap();
        drop(self.state.changed.wait_while(flow, |flow| !flow.stuck).unwrap());
    }

    /// Bytes that have passed.
    pub(crate) fn passed(&self) -> u64 {
        self.state.flow.lock().unwrap().passed
    }
}

impl State {
    /// How many of `length` bytes may pass now; waits until it is at least one.
    fn take(&self, length: usize) -> usize {
        let mut flow = self.flow.lock().unwrap();
        while flow.passed == flow.allowed {
            flow.stuck = true;
            self.changed.notify_all();
            flow = self.changed.wait(flow).unwrap();
        }
        let passing = (length as u64).min(flow.allowed - flow.passed);
        flow.passed += passing;
        usize::try_from(passing).unwrap()
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, allow: impl Fn(usize) -> usize) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let mut bytes = match from.read(&mut buffer) {
            Ok(read) if read > 0 => &buffer[..read],
            _ => break,
        };
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(allow(bytes.len()));
            if to.write_all(now).is_err() {
                return;
            }
            bytes = later;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}
