//! The only place where anything is printed: data on standard output, everything else on standard error,
//! and only what is [`Shown`].

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use crate::shown::{Shown, lines};

/// Says something to people: a line on standard error.
macro_rules! say {
    ($($what:tt)*) => { $crate::terminal::line(&$crate::shown::shown!($($what)*)) };
}

/// Gives data out: a line on standard output.
macro_rules! data {
    ($($what:tt)*) => { $crate::terminal::data_line(&$crate::shown::shown!($($what)*)) };
}

pub(crate) use {data, say};

/// Something did not reach standard output.
static LOST: AtomicBool = AtomicBool::new(false);

/// Whether everything that was given out has been taken. A reader that has gone away has seen enough.
pub(crate) fn all_given() -> bool {
    !LOST.load(Ordering::Relaxed)
}

fn give(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let given = out.write_all(text).and_then(|()| out.flush());
    given.or_else(|e| match e.kind() {
        ErrorKind::BrokenPipe => Ok(()),
        _ => Err(e),
    })
}

/// For [`say!`].
pub(crate) fn line(text: &Shown) {
    // Nobody is left to be told that nothing can be said.
    let _ = writeln!(io::stderr().lock(), "{}", text.finished());
}

/// For [`data!`].
pub(crate) fn data_line(text: &Shown) {
    if give(format!("{}\n", text.finished()).as_bytes()).is_err() {
        LOST.store(true, Ordering::Relaxed);
    }
}

/// A question, with the cursor behind it.
pub(crate) fn question(text: &Shown) {
    let mut out = io::stderr().lock();
    let _ = write!(out, "{} [y/N] ", text.finished());
    let _ = out.flush();
}

/// Gives out a file byte for byte, because digests are over its bytes: to whoever keeps it, not to a
/// terminal or a log.
pub(crate) fn file(text: &str) -> io::Result<()> {
    if io::stdout().is_terminal() || on_github() {
        let why = "it is not printed on a terminal or into a job's log";
        return Err(io::Error::other(why));
    }
    give(text.as_bytes())
}

/// Gives out what this program itself is made of.
pub(crate) fn ours(text: &[u8]) {
    if give(text).is_err() {
        LOST.store(true, Ordering::Relaxed);
    }
}

/// Whether people see standard error as it comes.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Whether this is a job of GitHub Actions.
pub(crate) fn on_github() -> bool {
    std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// A command of GitHub's, such as `error title=groundcrew`.
pub(crate) fn command(command: &'static str, message: &Shown) {
    let _ = give(format!("::{command}::{}\n", message.message()).as_bytes());
}

/// What the libraries say about themselves (`GROUNDCREW_LOG`).
pub(crate) struct Log;

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Log {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        line(&lines("", &String::from_utf8_lossy(event)));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A bar at the foot of the terminal, with lines above it.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(doing: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let template = "{prefix} {bar:32} {pos}/{len} {elapsed} {wide_msg}";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_prefix(doing);
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    pub(crate) fn line(&self, text: &Shown) {
        self.0.println(text.finished());
    }

    pub(crate) fn stands(&self, done: u64, of: u64, message: &Shown) {
        self.0.set_length(of);
        self.0.set_position(done);
        self.0.set_message(message.finished());
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
