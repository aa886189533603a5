use std::thread;
use std::time::Duration;

use crate::client::Protocol;
use crate::delay::{Cell, at, beside};
use crate::link::leave_network;
use crate::networks::{Case, Cure, Event, Seen, Times, run};
use crate::siblings;

const TIMES: Times = Times {
    silence: Duration::from_secs(3),
    forgotten: Duration::from_secs(3),
    often: Duration::from_secs(1),
    watch: Duration::from_secs(12),
};

/// Runs cases beside each other, in a network of their own.
fn seen<const N: usize>(cases: [(Event, Protocol, Cure); N]) -> [Seen; N] {
    leave_network();
    let runs = cases.map(|(event, protocol, cure)| {
        thread::spawn(move || run(Case { event, protocol, cure }, TIMES).unwrap())
    });
    runs.map(|run| run.join().unwrap())
}

const PROTOCOLS: [Protocol; 3] = [Protocol::Http1, Protocol::Http2, Protocol::Http3];

#[test]
#[ignore = "needs root"]
fn a_nat_that_forgets_ends_a_silent_stream_and_nobody_is_told() {
    let silent = PROTOCOLS.map(|protocol| (Event::Forgotten, protocol, Cure::None));
    for silent in seen(silent) {
        let told = silent.event.is_some() || silent.end.is_some();
        assert!(!told && silent.left.is_none(), "{silent:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_heartbeat_reminds_a_nat_that_would_forget() {
    let kept =
        PROTOCOLS.map(|protocol| (Event::Forgotten, protocol, Cure::Heartbeat));
    for kept in seen(kept) {
        assert!(kept.event.is_some(), "{kept:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn behind_a_nat_that_starts_again_quic_goes_on_and_tcp_is_reset() {
    let [tcp, quic] = seen([
        (Event::Restarted, Protocol::Http2, Cure::Probes),
        (Event::Restarted, Protocol::Http3, Cure::Probes),
    ]);
    assert!(tcp.event.is_none() && tcp.end.is_some(), "{tcp:?}");
    assert!(quic.event.is_some() && quic.end.is_none(), "{quic:?}");
}

#[test]
#[ignore = "needs root"]
fn a_stream_that_nobody_reads_stops_its_siblings_over_http_2_and_not_over_http_1() {
    leave_network();
    let two = siblings::run(Protocol::Http2, Some(siblings::STANDARD), 1).unwrap();
    assert_eq!(two.during, 0);
    assert!(two.before > 0 && two.after > 0);
    let one = siblings::run(Protocol::Http1, None, 1).unwrap();
    assert!(one.during > 0);
}

/// A round trip of 50 ms, and an event each 50 ms.
#[test]
#[ignore = "needs root"]
fn salvo_waits_for_an_acknowledgement_before_it_sends_the_next_event() {
    leave_network();
    let cell =
        Cell { protocol: Protocol::Http1, nodelay: false, streams: 1, loss: 0 };
    let cells = [cell, Cell { nodelay: true, ..cell }];
    let runs = beside(&cells, Duration::from_secs(4)).unwrap();
    let [waits, does_not] = [&runs[0], &runs[1]].map(|run| at(run, 0.5));
    assert!(waits > 1.3 * does_not, "{waits} ms, {does_not} ms");
}

/// TCP's addresses are part of its connection. QUIC's are not, but somebody has to send.
#[test]
#[ignore = "needs root"]
fn a_reader_with_a_new_address_keeps_its_stream_over_quic_alone() {
    let [tcp, silent, told] = seen([
        (Event::Moved, Protocol::Http1, Cure::Probes),
        (Event::Moved, Protocol::Http3, Cure::None),
        (Event::Moved, Protocol::Http3, Cure::Rebind),
    ]);
    assert!(tcp.event.is_none() && tcp.end.is_some(), "{tcp:?}");
    assert!(silent.event.is_none(), "{silent:?}");
    assert!(told.event.is_some() && told.end.is_none(), "{told:?}");
}
