//! Figures, and the table that is made of them.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// One line of the table.
pub(crate) struct Row {
    /// What is measured, and of how many.
    pub(crate) what: String,
    /// What is to be reached.
    pub(crate) target: String,
    /// What was measured.
    pub(crate) measured: String,
    /// What the baseline needed in this run, and what it is.
    pub(crate) baseline: String,
    /// Whether it was reached; none for a line that only informs.
    pub(crate) reached: Option<bool>,
}

#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        eprintln!(
            "{}: {} (to reach: {}; baseline: {})",
            row.what, row.measured, row.target, row.baseline
        );
        self.rows.push(row);
    }

    pub(crate) fn markdown(&self, directory: &Path) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "Measured {} on {}.\n",
            jiff::Timestamp::now().strftime("%Y-%m-%d"),
            machine(directory)
        );
        text.push_str(
            "| what | to reach | measured | baseline of the same run | |\n|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            let verdict = match row.reached {
                Some(true) => "reached",
                Some(false) => "**missed**",
                None => "",
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {verdict} |",
                row.what, row.target, row.measured, row.baseline
            );
        }
        text
    }
}

/// The processor, its cores, the memory, the kernel and the file system that is written to.
fn machine(directory: &Path) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        text.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_once(':'))
            .map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory: u64 = field(&read("/proc/meminfo"), "MemTotal")
        .split_whitespace()
        .next()
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0);
    format!(
        "{cores} cores of {}, {} GiB, Linux {}, {}",
        field(&read("/proc/cpuinfo"), "model name"),
        memory >> 20,
        read("/proc/sys/kernel/osrelease").trim(),
        file_system(directory)
    )
}

/// The type of the file system that `directory` is on: the longest mount point that it begins with.
fn file_system(directory: &Path) -> String {
    let directory = directory.canonicalize().unwrap_or_default();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let of = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?.to_owned(), words.next()?.to_owned());
        directory.starts_with(&point).then_some((point.len(), kind))
    };
    mounts
        .lines()
        .filter_map(of)
        .max()
        .map_or_else(String::new, |(_, kind)| kind)
}

const MARKERS: (&str, &str) = ("<!-- figures -->", "<!-- end of figures -->");

pub(crate) fn write_between_markers(path: &Path, figures: &str) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let parts = text.split_once(MARKERS.0).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(MARKERS.1)?;
        Some((before, after))
    });
    let (before, after) = parts.with_context(|| format!("{} has no markers", path.display()))?;
    let new = format!("{before}{}\n\n{figures}\n{}{after}", MARKERS.0, MARKERS.1);
    std::fs::write(path, new).with_context(|| path.display().to_string())
}

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// With three significant figures, in the unit that suits.
pub(crate) fn shown(time: Duration) -> String {
    let us = time.as_secs_f64() * 1e6;
    match us {
        us if us < 1e3 => format!("{us:.1} us"),
        us if us < 1e5 => format!("{:.2} ms", us / 1e3),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}
