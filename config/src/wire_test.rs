//! Messages survive the wire; a hostile peer gets an error.

use super::*;

#[test]
fn a_message_arrives_as_it_was_sent() {
    let sent = ToGuest::Start(Box::new(Start { hostname: "boat".into(), ..Start::default() }));
    let mut wire = Vec::new();
    send(&mut wire, &sent).unwrap();
    send(&mut wire, &ToGuest::Signal { process: 0, signal: 15 }).unwrap();
    let mut input = wire.as_slice();
    assert_eq!(receive(&mut input, MAX_TO_GUEST).unwrap(), Some(sent));
    assert_eq!(receive(&mut input, MAX_TO_GUEST).unwrap(), Some(ToGuest::Signal { process: 0, signal: 15 }));
    assert_eq!(receive::<ToGuest>(&mut input, MAX_TO_GUEST).unwrap(), None);
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_it_is_allocated() {
    let wire = u32::MAX.to_le_bytes();
    let error = receive::<ToHost>(&mut wire.as_slice(), MAX_TO_HOST).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_cut_message_is_an_error_not_an_end() {
    let mut wire = Vec::new();
    send(&mut wire, &ToHost::Started { process: 300 }).unwrap();
    for cut in 1..wire.len() {
        let error = receive::<ToHost>(&mut &wire[..cut], MAX_TO_HOST).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut at {cut}");
    }
}

#[test]
fn garbage_is_an_error() {
    let wire = [3, 0, 0, 0, 0xff, 0xff, 0xff];
    assert_eq!(receive::<ToHost>(&mut wire.as_slice(), 64).unwrap_err().kind(), io::ErrorKind::InvalidData);
}
