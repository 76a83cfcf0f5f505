//! What Linux tells. (proc(5), namespaces(7), `clock_gettime(2)`)

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A host's name is its own as long as it runs.
pub(super) const HOST_STAYS: bool = true;

/// The hard limit is the only one.
pub(super) const OPEN_FILES: Option<u64> = None;

/// `CLOCK_MONOTONIC` would leave out suspended time here.
pub(super) fn since_boot() -> Timespec {
    clock_gettime(ClockId::Boottime)
}

/// A UUID that the kernel makes anew at each boot.
pub(super) fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = id.trim();
    (!id.is_empty()).then(|| id.to_owned())
}

/// The PID namespace, and the time namespace, by which starts are counted.
///
/// None, if `/proc` is another namespace's: the numbers in it are not those that this process knows.
/// `NSpid` has the process's number in the namespace of `/proc` and in each below it, down to its
/// own; so there is one only where both are the same.
pub(super) fn namespace() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let numbers = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    let own = std::process::id().to_string();
    if !numbers.split_whitespace().eq([own.as_str()]) {
        return None;
    }
    let link = |name: &str| {
        let to = std::fs::read_link(format!("/proc/self/ns/{name}")).ok()?;
        Some(to.to_string_lossy().into_owned())
    };
    // Kernels before 5.6 have no time namespaces.
    let time = link("time").map_or_else(String::new, |time| format!(" {time}"));
    Some(format!("{}{time}", link("pid")?))
}

/// `/proc/PID/stat` from its third field on, behind the name in parentheses.
fn stat(process: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.to_owned())
}

/// Dead, and not waited for by its parent, as under an init that waits for nobody: field 3 is `Z` or
/// `X`. Field 20 tells whether threads of it are still on their way out.
pub(super) fn dead(process: u32) -> bool {
    let stat = stat(process).unwrap_or_default();
    let mut fields = stat.split_whitespace();
    let dead = matches!(fields.next(), Some("Z" | "X"));
    dead && matches!(fields.nth(16), Some("0" | "1"))
}

/// Field 22: ticks since the boot.
pub(super) fn started(process: u32) -> Option<String> {
    stat(process)?.split_whitespace().nth(19).map(str::to_owned)
}
