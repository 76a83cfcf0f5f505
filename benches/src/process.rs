//! Processes that are measured: the command in a home of its own, and others of this program.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use groundcrew_simulator::DEFAULT_TOKEN;

/// What every part is given.
pub(crate) struct Setting {
    pub(crate) binary: PathBuf,
    pub(crate) directory: PathBuf,
    pub(crate) quick: bool,
}

impl Setting {
    /// So many in full, one to see that it works.
    pub(crate) fn times(&self, full: usize) -> usize {
        if self.quick { 1 } else { full }
    }
}

/// The user's own configuration, in its home.
const OWN: &str = ".config/groundcrew/config.toml";

/// A home with a project, state and cache, whose target is at an address.
pub(crate) struct Home<'a> {
    setting: &'a Setting,
    directory: tempfile::TempDir,
}

impl<'a> Home<'a> {
    pub(crate) fn new(setting: &'a Setting, address: &str, http2: bool) -> Result<Self> {
        let directory = tempfile::tempdir_in(&setting.directory)?;
        let text = format!(
            "default_target = \"bench\"\n[target.bench]\norganisation = \"groundcrew\"\nmachines_api = \"{address}\"\ncredential = \"env://BENCH_TOKEN\"\nhttp2 = {http2}\n"
        );
        let own = directory.path().join(OWN);
        std::fs::create_dir_all(own.parent().context("it is in a directory")?)?;
        std::fs::write(own, text)?;
        Ok(Self { setting, directory })
    }

    /// The same at another pace of the target's.
    pub(crate) fn scaled(self, scale: f64) -> Result<Self> {
        let file = self.directory.path().join(OWN);
        let text = std::fs::read_to_string(&file)?;
        std::fs::write(&file, format!("{text}time_scale = {scale:.1}\n"))?;
        Ok(self)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let home = self.directory.path();
        let mut command = Command::new(&self.setting.binary);
        command
            .arg("--project")
            .arg(home)
            .arg("--state-dir")
            .arg(home.join("state"))
            .args(arguments)
            .env_clear()
            .env("HOME", home)
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("BENCH_TOKEN", DEFAULT_TOKEN)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

/// This program again, as something else.
pub(crate) fn ourselves(arguments: &[String]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Ok(command)
}

/// How a process went.
#[derive(Clone, Copy)]
pub(crate) struct Went {
    /// From its start to its end.
    pub(crate) took: Duration,
    /// The most memory that was resident, in bytes.
    pub(crate) resident: u64,
}

/// Runs a process to its end, and fails if it does.
pub(crate) fn run(mut command: Command) -> Result<Went> {
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    let mut resident = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        resident = resident.max(high_water(child.id()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    };
    let took = began.elapsed();
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(Went { took, resident })
}

/// `VmHWM`: the peak of the resident set. (proc(5)) A zombie has none.
fn high_water(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// A process of ours that serves until this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(arguments: &[String]) -> Result<Self> {
        let mut child = ourselves(arguments)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut address)?;
        Ok(Self {
            child,
            address: address.trim().to_owned(),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Killed, because thousands of idle connections take a while to close in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
