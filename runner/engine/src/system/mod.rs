//! The operating system, as one door with a side for each system: `linux.rs` and `macos.rs`.
//!
//! Here is all that is known of processes: which one this is, and whether another one is gone. A
//! process is a number, and a number means something only where it was given: on one host, in one boot
//! of it, in one PID namespace. Whoever asks from elsewhere, such as a container that shares the store,
//! learns nothing here; then the claim's expiry decides. What a system does not tell is empty, and
//! nothing that is empty is equal to anything.
//!
//! Both sides tell the same few things, and nothing else in `runner/` may ask for what only one system
//! has. (`tests/tests/platforms.rs`) What was tried on which system: `docs/platforms.md`.

#[cfg(target_os = "linux")]
mod linux;
// Beside Linux's own tests too: so its text is compiled and its answers are read everywhere.
#[cfg(any(target_os = "macos", test))]
mod macos;

#[cfg(target_os = "linux")]
use linux as side;
#[cfg(target_os = "macos")]
use macos as side;

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("groundcrew runs on Linux and on macOS; another system needs its side of `system`");

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, getrlimit, setrlimit};

/// The name of this host, for people. On some systems it changes with the network.
pub fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// Lets this process hold as many files and connections open as the system allows. A sweep over
/// thousands holds as many connections; shells start programs with 256 or 1,024.
pub fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum;
    limit.current = match (hard, side::OPEN_FILES) {
        (Some(hard), Some(most)) => Some(hard.min(most)),
        (hard, most) => hard.or(most),
    };
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Time since some fixed instant; time counts in which the system was suspended.
pub(crate) fn since_boot() -> Duration {
    let now = side::since_boot();
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// What tells a process from every other; what the system does not say is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// The host's name.
    pub(crate) host: String,
    /// The boot of that host.
    pub(crate) boot: String,
    /// Where its number was given.
    pub(crate) namespace: String,
    /// Its number there.
    pub(crate) number: u32,
    /// When it started, in the system's own words.
    pub(crate) started: String,
}

/// This process.
pub(crate) fn this() -> Process {
    let number = std::process::id();
    let namespace = side::namespace().unwrap_or_default();
    let started = match namespace.is_empty() {
        true => None,
        false => side::started(number),
    };
    Process {
        host: host(),
        boot: side::boot().unwrap_or_default(),
        namespace,
        number,
        started: started.unwrap_or_default(),
    }
}

/// Whether a process is gone, as far as that can be known from here. False: it is alive, or nobody
/// here can tell.
pub(crate) fn surely_gone(process: &Process) -> bool {
    gone(process, &this(), side::HOST_STAYS, || seen(process.number))
}

/// What there is under a number.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Nobody,
    /// A process that started then.
    Since(String),
    /// It cannot be told.
    Unknown,
}

fn gone(process: &Process, here: &Process, host_stays: bool, seen: impl FnOnce() -> Seen) -> bool {
    let same = |a: &str, b: &str| !a.is_empty() && a == b;
    let here = (!host_stays || same(&process.host, &here.host))
        && same(&process.boot, &here.boot)
        && same(&process.namespace, &here.namespace);
    // Without its start it cannot be told from a later process of its number.
    if !here || process.started.is_empty() {
        return false;
    }
    match seen() {
        Seen::Nobody => true,
        Seen::Since(start) => start != process.started,
        Seen::Unknown => false,
    }
}

/// Asks the kernel, which knows this process's own namespace; only when somebody started is read from
/// elsewhere.
fn seen(number: u32) -> Seen {
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else {
        return Seen::Unknown;
    };
    match rustix::process::test_kill_process(pid) {
        Err(Errno::SRCH) => Seen::Nobody,
        // It does nothing any more, though its number is still its own.
        Ok(()) | Err(_) if side::dead(number) => Seen::Nobody,
        Ok(()) | Err(_) => side::started(number).map_or(Seen::Unknown, Seen::Since),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of two, or unknown.
    const WORDS: [&str; 3] = ["", "one", "other"];

    fn process(host: &str, boot: &str, namespace: &str, started: &str) -> Process {
        Process {
            host: host.to_owned(),
            boot: boot.to_owned(),
            namespace: namespace.to_owned(),
            number: 7,
            started: started.to_owned(),
        }
    }

    /// Every host, boot, namespace and start, each equal, different or unknown on either side, and
    /// everything that can be found under the number.
    #[test]
    fn a_process_is_gone_only_where_its_number_was_given() {
        let found = [
            Seen::Nobody,
            Seen::Unknown,
            Seen::Since("one".to_owned()),
            Seen::Since("other".to_owned()),
        ];
        let words = || WORDS.into_iter();
        let mut all = Vec::new();
        for host in words() {
            for boot in words() {
                for namespace in words() {
                    for started in words() {
                        all.push(process(host, boot, namespace, started));
                    }
                }
            }
        }
        let mut surely = 0;
        for (named, here) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
            for seen in &found {
                let known = |a: &str, b: &str| a == b && !a.is_empty();
                let boot = known(&named.boot, &here.boot);
                let place = boot && known(&named.namespace, &here.namespace);
                let another = match seen {
                    Seen::Nobody => true,
                    Seen::Since(start) => *start != named.started,
                    Seen::Unknown => false,
                };
                let wanted = place && another && !named.started.is_empty();
                let host = known(&named.host, &here.host);
                let said = |host_stays| gone(named, here, host_stays, || seen.clone());
                assert_eq!(said(true), wanted && host, "{named:?} {here:?} {seen:?}");
                assert_eq!(said(false), wanted, "{named:?} {here:?} {seen:?}");
                surely += usize::from(said(true));
            }
        }
        assert!(surely > 0, "it can be told sometimes");
    }

    #[test]
    fn this_process_is_alive_and_one_that_was_waited_for_is_not() {
        let me = this();
        for known in [&me.host, &me.boot, &me.namespace, &me.started] {
            assert!(!known.is_empty(), "{me:?}");
        }
        assert!(!surely_gone(&me));
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let of = Process {
            number: child.id(),
            started: side::started(child.id()).unwrap(),
            ..me.clone()
        };
        assert!(!surely_gone(&of), "it is alive");
        child.kill().unwrap();
        // Dead, and not waited for by us: it takes a moment.
        let dead = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            surely_gone(&of)
        });
        assert!(dead);
        assert!(macos::dead(child.id()) && !macos::dead(std::process::id()));
        child.wait().unwrap();
        assert!(surely_gone(&of));
        let elsewhere = [
            process("other", &of.boot, &of.namespace, &of.started),
            process(&of.host, "other", &of.namespace, &of.started),
            process(&of.host, &of.boot, "other", &of.started),
            process(&of.host, &of.boot, "", &of.started),
            process(&of.host, &of.boot, &of.namespace, ""),
        ];
        for (at, elsewhere) in elsewhere.into_iter().enumerate() {
            let elsewhere = Process {
                number: of.number,
                ..elsewhere
            };
            let moved = at == 0 && !side::HOST_STAYS;
            assert_eq!(surely_gone(&elsewhere), moved, "{elsewhere:?}");
        }
        // A number that no process has, or that is none.
        for number in [0, u32::MAX] {
            assert_eq!(seen(number), Seen::Unknown);
        }
    }

    #[test]
    fn time_goes_on() {
        let before = since_boot();
        assert!(before > Duration::ZERO);
        std::thread::sleep(Duration::from_millis(20));
        assert!(since_boot() >= before + Duration::from_millis(20));
    }

    #[test]
    fn more_files_may_be_open() {
        raise_file_limit();
        let limit = getrlimit(Resource::Nofile);
        let most = limit.maximum.or(side::OPEN_FILES);
        assert!(
            limit.current == most || limit.current == side::OPEN_FILES,
            "{limit:?}"
        );
    }

    /// As a macOS would answer; and what its `ps` has in common with the one here.
    #[test]
    fn the_other_side_reads_its_answers() {
        assert_eq!(macos::word(b" A-B\n"), Some("A-B".to_owned()));
        assert_eq!(macos::word(b"\n"), None);
        assert_eq!(macos::word(&[0xff]), None);
        let me = macos::started(std::process::id()).unwrap();
        assert_eq!(me.split_whitespace().count(), 5, "{me}");
        assert_eq!(macos::started(u32::MAX), None);
        assert_eq!(macos::namespace().as_deref(), Some("whole"));
        assert!(macos::OPEN_FILES.is_some() && !macos::HOST_STAYS);
        assert!(macos::since_boot().tv_sec > 0);
        // There is such a value on macOS only.
        assert_eq!(macos::boot().is_some(), cfg!(target_os = "macos"));
    }
}
