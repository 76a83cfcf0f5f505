//! What macOS tells. Asked of its own programs, because the calls behind them need `unsafe`: once a
//! command, and again for each run that claims to be alive.

use std::process::{Command, Stdio};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// It changes with the network. The boot's id is one host's alone.
pub(super) const HOST_STAYS: bool = false;

/// `OPEN_MAX` of `sys/syslimits.h`. The hard limit may be infinite, and a soft one that is more than
/// this is refused. (`setrlimit(2)`, "Compatibility")
pub(super) const OPEN_FILES: Option<u64> = Some(10_240);

/// `CLOCK_MONOTONIC` counts on while the system sleeps here; `CLOCK_UPTIME_RAW` would not.
/// (`clock_gettime(3)`)
pub(super) fn since_boot() -> Timespec {
    clock_gettime(ClockId::Monotonic)
}

/// A UUID that the kernel makes anew at each boot.
pub(super) fn boot() -> Option<String> {
    said("/usr/sbin/sysctl", &["-n", "kern.bootsessionuuid"])
}

/// There are no namespaces: a number is the whole system's.
pub(super) fn namespace() -> Option<String> {
    Some("whole".to_owned())
}

/// Dead, and not waited for by its parent: `Z`, in the words of `ps`.
pub(super) fn dead(process: u32) -> bool {
    let stat = said("/bin/ps", &["-o", "stat=", "-p", &process.to_string()]);
    stat.is_some_and(|stat| stat.starts_with('Z'))
}

/// To the second, in no time zone but one: it must read the same to every process.
pub(super) fn started(process: u32) -> Option<String> {
    said("/bin/ps", &["-o", "lstart=", "-p", &process.to_string()])
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs([("LC_ALL", "C"), ("TZ", "UTC")])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then_some(())?;
    word(&output.stdout)
}

pub(super) fn word(output: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(output).ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
