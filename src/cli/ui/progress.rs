//! How far a pull or a load is: one line that is redrawn on a terminal, a line for each finished layer in a pipe.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::size;
use image::{Digest, Progress};

/// Time between two drawings: more often than anybody sees costs more than it shows.
const REDRAW: Duration = Duration::from_millis(100);
/// Back to the start of the line, and clear it.
const CLEAR: &str = "\r\x1b[2K";

/// Draws the progress of one image.
pub(crate) struct Drawing {
    terminal: bool,
    quiet: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    layers: HashMap<Digest, (u64, u64)>,
    done: usize,
    drawn: Option<Instant>,
}

impl Drawing {
    /// Draws on standard error, unless `quiet`.
    pub(crate) fn new(quiet: bool) -> Drawing {
        Drawing { terminal: io::stderr().is_terminal(), quiet, state: Mutex::default() }
    }

    /// Takes the drawing away.
    pub(crate) fn clear(&self) {
        if self.terminal && self.change(|state| state.drawn.take()).is_some() {
            write(CLEAR);
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn draw(&self, state: &mut State) {
        let recently = |drawn: Instant| drawn.elapsed() < REDRAW;
        if self.quiet || !self.terminal || state.drawn.is_some_and(recently) {
            return;
        }
        state.drawn = Some(Instant::now());
        let count = state.layers.len();
        let sum = |pick: fn(&(u64, u64)) -> u64| state.layers.values().map(pick).fold(0, u64::saturating_add);
        let (here, total) = (size::human(sum(|layer| layer.0)), size::human(sum(|layer| layer.1)));
        write(&format!("{CLEAR}{} of {count} layers, {here} of {total}", state.done));
    }

    fn tell(&self, layer: &Digest, what: &str) {
        if !self.quiet && !self.terminal {
            super::say(&format!("{}: {what}", layer.short()));
        }
    }
}

impl Progress for Drawing {
    fn start(&self, layer: &Digest, total: u64) {
        self.change(|state| {
            state.layers.insert(layer.clone(), (0, total));
            self.draw(state);
        });
    }

    fn advance(&self, layer: &Digest, bytes: u64) {
        self.change(|state| {
            if let Some((here, _)) = state.layers.get_mut(layer) {
                *here = here.saturating_add(bytes);
            }
            self.draw(state);
        });
    }

    fn done(&self, layer: &Digest) {
        self.change(|state| {
            state.done += 1;
            self.draw(state);
        });
        self.tell(layer, "complete");
    }

    fn present(&self, layer: &Digest) {
        self.tell(layer, "already here");
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        self.clear();
    }
}

fn write(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
