//! How far a pull, push, load or save is: a bar for each layer and one for all of them on a terminal, a line for each
//! finished layer in a pipe.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::size;
use image::{Digest, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Redraws in a second: more than anybody sees cost more than they show.
const REDRAWS: u8 = 10;
/// A layer that waits for its turn, or is finished.
const STILL: &str = "{prefix}  {msg}";
/// A layer that comes in.
const MOVING: &str =
    "{prefix}  [{bar:24}] {decimal_bytes:>10} of {decimal_total_bytes:<10} {decimal_bytes_per_sec:>12}";
/// All of them.
const TOTAL: &str =
    "{prefix:12}  [{bar:24}] {decimal_bytes:>10} of {decimal_total_bytes:<10} {decimal_bytes_per_sec:>12}  {msg}";

/// Draws the progress of one image.
pub(crate) struct Drawing {
    terminal: bool,
    quiet: bool,
    bars: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    layers: HashMap<Digest, Layer>,
    total: Option<ProgressBar>,
    bytes: u64,
    done: usize,
}

struct Layer {
    bar: ProgressBar,
    bytes: u64,
    started: Instant,
}

impl Drawing {
    /// Draws on standard error, unless `quiet`.
    pub(crate) fn new(quiet: bool) -> Drawing {
        let terminal = !quiet && io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr_with_hz(REDRAWS) } else { ProgressDrawTarget::hidden() };
        Drawing { terminal, quiet, bars: MultiProgress::with_draw_target(target), state: Mutex::default() }
    }

    /// Takes the drawing away.
    pub(crate) fn clear(&self) {
        if self.terminal {
            // A terminal that is gone needs no clearing.
            let _ = self.bars.clear();
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The layer's place in the drawing, made if nobody has announced it.
    fn layer<'a>(&self, state: &'a mut State, digest: &Digest) -> &'a mut Layer {
        let State { layers, total, .. } = state;
        layers.entry(digest.clone()).or_insert_with(|| {
            let bar = ProgressBar::new(0).with_style(style(STILL)).with_prefix(digest.short().to_owned());
            let bar = match total {
                Some(total) => self.bars.insert_before(total, bar),
                None => self.bars.add(bar),
            };
            Layer { bar, bytes: 0, started: Instant::now() }
        })
    }

    fn end(&self, digest: &Digest, what: &str) {
        let line = self.change(|state| {
            state.done = state.done.saturating_add(1);
            let (done, all) = (state.done, state.layers.len());
            if let Some(total) = &state.total {
                total.set_message(format!("{done} of {all} layers"));
            }
            let layer = self.layer(state, digest);
            let line = match layer.bytes {
                0 => what.to_owned(),
                bytes => format!("{what}, {}{}", size::human(bytes), rate(bytes, layer.started.elapsed())),
            };
            layer.bar.set_style(style(STILL));
            layer.bar.finish_with_message(line.clone());
            line
        });
        if !self.quiet && !self.terminal {
            super::say(&format!("{}: {line}", digest.short()));
        }
    }
}

impl Progress for Drawing {
    fn plan(&self, layers: &[(Digest, u64)]) {
        self.change(|state| {
            let bytes = layers.iter().map(|(_, size)| *size).fold(0, u64::saturating_add);
            let total = ProgressBar::new(bytes).with_style(style(TOTAL)).with_prefix("total");
            state.total = Some(self.bars.add(total));
            for (digest, _) in layers {
                self.layer(state, digest).bar.set_message("waiting");
            }
        });
    }

    fn start(&self, layer: &Digest, total: u64) {
        self.change(|state| {
            let layer = self.layer(state, layer);
            // A layer can begin anew.
            let lost = std::mem::take(&mut layer.bytes);
            layer.started = Instant::now();
            layer.bar.reset();
            layer.bar.set_length(total);
            layer.bar.set_style(style(MOVING));
            state.bytes = state.bytes.saturating_sub(lost);
        });
    }

    fn advance(&self, layer: &Digest, bytes: u64) {
        self.change(|state| {
            let layer = self.layer(state, layer);
            layer.bytes = layer.bytes.saturating_add(bytes);
            layer.bar.set_position(layer.bytes);
            state.bytes = state.bytes.saturating_add(bytes);
            if let Some(total) = &state.total {
                total.set_position(state.bytes);
            }
        });
    }

    fn done(&self, layer: &Digest) {
        self.end(layer, "complete");
    }

    fn present(&self, layer: &Digest) {
        self.end(layer, "already here");
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        self.clear();
    }
}

fn rate(bytes: u64, time: Duration) -> String {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let rate = bytes.saturating_mul(1000).checked_div(milliseconds);
    rate.map_or_else(String::new, |rate| format!(", {}/s", size::human(rate)))
}

/// A template that is known to be right; a wrong one would show the default.
fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_right() {
        for template in [STILL, MOVING, TOTAL] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn a_layer_that_begins_anew_is_counted_once() {
        let drawing = Drawing::new(true);
        let [one, two] = ["one", "two"].map(|text| Digest::of(text.as_bytes()));
        drawing.plan(&[(one.clone(), 10), (two.clone(), 5)]);
        drawing.start(&one, 10);
        drawing.advance(&one, 7);
        drawing.start(&one, 10);
        drawing.advance(&one, 10);
        drawing.done(&one);
        drawing.present(&two);
        let (bytes, done, length) =
            drawing.change(|state| (state.bytes, state.done, state.total.as_ref().and_then(ProgressBar::length)));
        assert_eq!((bytes, done, length), (10, 2, Some(15)));
    }

    #[test]
    fn a_rate_needs_time() {
        assert_eq!(rate(1000, Duration::ZERO), "");
        assert_eq!(rate(4_000_000, Duration::from_secs(2)), format!(", {}/s", size::human(2_000_000)));
    }
}
