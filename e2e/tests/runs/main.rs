//! The real runs: every one with real processes in a lab of its own, while a client writes.
//!
//! `cargo test --release -p e2e -- --test-threads 1`; `STEAD_ROUNDS=50` for the stated numbers.
//! With `--nocapture` the figures that are told and not judged are seen as well.
#![expect(clippy::unwrap_used, reason = "runs panic as tests do, their parts included")]

mod absence;
mod active_active;
mod alerts;
mod attackers;
mod clocks;
mod cluster_ip;
mod degraded;
mod demo;
mod disk;
mod examples;
mod forced;
mod forgets;
mod forms;
mod freeze;
mod ipv6;
mod joins;
mod killed;
mod leaves;
mod measured;
mod missed_changes;
mod mixed;
mod names;
mod networks;
mod package;
mod parity;
mod postgresql;
mod preflight;
mod pressure;
mod refusals;
mod restarts;
mod restored;
mod rotated;
mod split;
mod stage;
mod stalled_monitor;
mod stopped;
mod strangers;
mod systemd;
mod tickle;
mod upgrade;
mod upkeep;
mod user;
