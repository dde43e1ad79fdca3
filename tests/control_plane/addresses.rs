//! A range of loopback addresses for one control plane: its ClusterIPs, and where its programs listen.
//!
//! All of 127.0.0.0/8 is this machine, so each control plane can have the usual ports on addresses of its own.

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::Context;

/// Port that only a reservation listens on: its holder owns the range.
const RESERVATION_PORT: u16 = 6442;

/// A /20 below 127.64.0.0/10, held as long as this lives.
pub(super) struct AddressRange {
    first: [u8; 4],
    next_free: AtomicU8,
    _reservation: TcpListener,
}

impl AddressRange {
    pub(super) fn reserve() -> anyhow::Result<Self> {
        let mut last_error = None;
        for _ in 0..20 {
            let [second, third] = random_bytes()?;
            let first = [127, 64 + second % 64, third & 0xf0, 0];
            match TcpListener::bind((with_last(first, 1), RESERVATION_PORT)) {
                Ok(reservation) => return Ok(Self { first, next_free: AtomicU8::new(2), _reservation: reservation }),
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.expect("it was tried")).context("no range of loopback addresses is free")
    }

    /// The range as the API server's option wants it.
    pub(super) fn cidr(&self) -> String {
        format!("{}/20", Ipv4Addr::from(self.first))
    }

    /// Returns the address of etcd and the API server: the ClusterIP that the Service `kubernetes` always gets.
    pub(super) fn api_server(&self) -> Ipv4Addr {
        with_last(self.first, 1)
    }

    /// The API server takes ClusterIPs of its own choice from above the first 256, so these stay free.
    pub(super) fn free_cluster_ip(&self) -> Ipv4Addr {
        let last = self.next_free.fetch_add(1, Ordering::Relaxed);
        assert!(last != 0, "all 254 ClusterIPs are given away");
        with_last(self.first, last)
    }
}

fn with_last([a, b, c, _]: [u8; 4], last: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, last)
}

/// Random bytes from the system, for addresses and tokens.
pub(super) fn random_bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
