use super::*;
use std::os::unix::net::UnixStream;
use std::thread;

use config::wire::{ExitStatus, MAX_TO_HOST};

fn pair() -> (Control, UnixStream) {
    let (guest, host) = UnixStream::pair().unwrap();
    (Control::over(guest.into()), host)
}

#[test]
fn ready_tells_the_age_of_the_kernel() {
    let (mut control, mut host) = pair();
    control.ready().unwrap();
    let Some(ToHost::Ready { uptime_us }) = wire::receive(&mut host, MAX_TO_HOST).unwrap() else { panic!() };
    let seconds: f64 = std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
    let difference = seconds - uptime_us as f64 / 1e6;
    assert!((-0.1..10.0).contains(&difference), "{seconds} s against {uptime_us} us");
}

#[test]
fn start_arrives_whole() {
    let (mut control, mut host) = pair();
    let start = Start { hostname: "boat".into(), realtime_ns: 7, ..Start::default() };
    wire::send(&mut host, &ToGuest::Start(Box::new(start.clone()))).unwrap();
    assert_eq!(*control.receive_start().unwrap(), start);
}

#[test]
fn anything_before_start_is_refused() {
    let (mut control, mut host) = pair();
    wire::send(&mut host, &ToGuest::Signal { process: 0, signal: 15 }).unwrap();
    assert!(matches!(control.receive_start(), Err(Error::NotStart)));
}

#[test]
fn a_host_that_hangs_up_before_start_is_noticed() {
    let (mut control, host) = pair();
    drop(host);
    assert!(matches!(control.receive_start(), Err(Error::Closed)));
}

#[test]
fn the_last_message_is_delivered_before_finish_returns() {
    let (mut control, mut host) = pair();
    let message = ToHost::Exited { process: 0, status: ExitStatus::Code(3) };
    let reader = thread::spawn(move || wire::receive::<ToHost>(&mut host, MAX_TO_HOST).unwrap());
    control.finish(&message).unwrap();
    assert!(vsock::all_taken(control.as_fd()));
    assert_eq!(reader.join().unwrap(), Some(message));
}

#[test]
fn a_host_that_hangs_up_unread_does_not_hold_up_the_end() {
    let (mut control, host) = pair();
    let closer = thread::spawn(move || drop(host));
    let sent = control.finish(&ToHost::Started { process: 0 });
    assert!(matches!(sent, Ok(()) | Err(Error::Send(_))));
    closer.join().unwrap();
}
