//! Where tokens come from. A configuration holds references only: `fly://` (flyctl's own order),
//! `env://NAME`, `file://PATH`, `op://VAULT/ITEM/FIELD` (1Password's `op read`), `cmd://PROGRAM
//! ARGUMENTS`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use groundcrew::{CredentialSource, Scheme, Secret};

use crate::exit::Exit;

/// A source of a token.
pub(crate) enum Source {
    /// As flyctl: `--access-token`, `FLY_ACCESS_TOKEN`, `FLY_API_TOKEN`, its `config.yml`.
    /// (flyctl:internal/config/config.go)
    Fly {
        flag: Option<String>,
    },
    Environment(String),
    File(PathBuf),
    /// A program and its arguments, without a shell.
    Command(Vec<String>),
    /// What a simulator accepts: `GROUNDCREW_SIM_TOKEN`, or its default. Never a token of Fly's.
    Simulator,
}

/// Whose word a target, a place or a credential is, and what the user has trusted beyond that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trust<'a> {
    /// It stands in the user's own configuration, and not in a project's.
    pub(crate) own: bool,
    /// `trusted_origins` of the user's configuration.
    pub(crate) origins: &'a [String],
    /// `project_credentials` of the user's configuration.
    pub(crate) credentials: &'a [String],
}

impl Source {
    /// The source that a reference names.
    pub(crate) fn parse(
        reference: &str,
        trust: Trust<'_>,
        flag: Option<&str>,
    ) -> Result<Self, Exit> {
        let listed = trust.credentials.iter().any(|listed| listed == reference);
        if reference.starts_with("file://") && !trust.own && !listed {
            return Err(Exit::refused(
                format!(
                    "the project's configuration wants to read `{reference}` for a token; only your own configuration may"
                ),
                Some(&format!(
                    "`project_credentials = [\"{reference}\"]` in your configuration allows it"
                )),
            ));
        }
        let trusted = trust.own;
        let (scheme, rest) = reference.split_once("://").unwrap_or((reference, ""));
        Ok(match scheme {
            "fly" => Self::Fly {
                flag: flag.map(str::to_owned),
            },
            "env" if is_variable(rest) => Self::Environment(rest.to_owned()),
            "file" if !rest.is_empty() => Self::File(rest.into()),
            "op" if trusted && !rest.is_empty() => {
                let words = ["op", "read", reference];
                Self::Command(words.map(str::to_owned).to_vec())
            }
            "cmd" | "op" if !trusted => {
                return Err(Exit::refused(
                    format!(
                        "the project's configuration wants to run `{}` for a token; only your own configuration may",
                        rest.split_whitespace().next().unwrap_or_default()
                    ),
                    None,
                ));
            }
            "cmd" if !rest.trim().is_empty() => {
                Self::Command(rest.split_whitespace().map(str::to_owned).collect())
            }
            "sim" => Self::Simulator,
            // What stands there is most likely the token itself.
            _ => {
                return Err(Exit::usage(
                    "a `credential` of the configuration is not a reference to one",
                    Some("write `fly://`, `env://NAME`, `file://PATH` or `cmd://PROGRAM`"),
                ));
            }
        })
    }
}

impl Source {
    /// Where a credential of this source may go. What a project names goes to its vendor and to
    /// `trusted_origins`, and not to whoever listens on this machine; a simulator's goes nowhere else.
    pub(crate) fn goes(&self, scheme: Scheme, trust: Trust<'_>) -> Scheme {
        match self {
            Self::Simulator => Scheme {
                own: |_| false,
                local: true,
                ..scheme
            },
            Self::Fly { .. } | Self::Environment(_) | Self::File(_) | Self::Command(_) => Scheme {
                local: trust.own,
                ..scheme
            },
        }
    }
}

impl CredentialSource for Source {
    fn reference(&self) -> String {
        match self {
            Self::Fly { .. } => "fly://".to_owned(),
            Self::Environment(name) => format!("env://{name}"),
            Self::File(path) => format!("file://{}", path.display()),
            Self::Command(words) => format!("cmd://{}", words.first().map_or("", String::as_str)),
            Self::Simulator => "sim://".to_owned(),
        }
    }

    fn resolve(&self) -> Result<Secret, String> {
        match self {
            Self::Fly { flag } => fly(flag.as_deref()),
            Self::Environment(name) => variable(name)
                .ok_or_else(|| format!("the environment variable `{name}` is not set")),
            Self::File(path) => private_file(path),
            Self::Command(words) => output_of(words),
            Self::Simulator => Ok(variable("GROUNDCREW_SIM_TOKEN")
                .unwrap_or_else(|| Secret::new(groundcrew_simulator::DEFAULT_TOKEN))),
        }
    }
}

/// Whether it is the name of a variable, and not a token that somebody put there.
fn is_variable(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=64).contains(&name.len())
        && name.chars().all(plain)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn variable(name: &str) -> Option<Secret> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.trim().is_empty())
        .map(|value| Secret::new(&value))
}

fn fly(flag: Option<&str>) -> Result<Secret, String> {
    if let Some(token) = flag {
        return Ok(Secret::new(token));
    }
    if let Some(token) = variable("FLY_ACCESS_TOKEN").or_else(|| variable("FLY_API_TOKEN")) {
        return Ok(token);
    }
    let directory = std::env::var_os("FLY_CONFIG_DIR")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".fly")));
    directory
        .and_then(|directory| std::fs::read_to_string(directory.join("config.yml")).ok())
        .and_then(|text| access_token(&text))
        .ok_or_else(|| "no Fly token is found: not in `FLY_ACCESS_TOKEN`, `FLY_API_TOKEN` or flyctl's `config.yml`".to_owned())
}

/// The one line of flyctl's file that we want: a top-level scalar. No YAML parser for that.
fn access_token(yaml: &str) -> Option<Secret> {
    let value = yaml
        .lines()
        .find_map(|line| line.strip_prefix("access_token:"))?
        .trim();
    let value = value.trim_matches('"').trim_matches('\'').trim();
    (!value.is_empty() && value != "null").then(|| Secret::new(value))
}

fn private_file(path: &Path) -> Result<Secret, String> {
    use std::os::unix::fs::MetadataExt;
    let say = |what: String| format!("the token file `{}` {what}", path.display());
    let found = std::fs::metadata(path).map_err(|e| say(format!("cannot be read: {e}")))?;
    if found.mode() & 0o077 != 0 {
        return Err(say(format!(
            "can be read by others (mode {:o}); `chmod 600` it",
            found.mode() & 0o777
        )));
    }
    std::fs::read_to_string(path)
        .map(|text| Secret::new(&text))
        .map_err(|e| say(format!("cannot be read: {e}")))
}

/// How long a helper may take: it may have to ask a person for a finger.
const HELPER: Duration = Duration::from_secs(60);
/// What it may print: tokens of Fly's have some thousand bytes.
const HELPER_BYTES: u64 = 64 << 10;

fn output_of(words: &[String]) -> Result<Secret, String> {
    output_within(words, HELPER)
}

/// What a helper prints. What it complains of is shown, cut; what it printed is not.
fn output_within(words: &[String], limit: Duration) -> Result<Secret, String> {
    let (program, arguments) = words
        .split_first()
        .ok_or("the command for the token is empty")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("`{program}` cannot be run for the token: {e}"))?;
    let (printed, complained) = (heard(child.stdout.take()), heard(child.stderr.take()));
    let until = Instant::now() + limit;
    let printed = printed.recv_timeout(limit).ok();
    let mut ended = None;
    while printed.is_some() && ended.is_none() && Instant::now() < until {
        ended = child
            .try_wait()
            .map_err(|e| format!("`{program}`, run for the token: {e}"))?;
        if ended.is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let (Some(printed), Some(status)) = (printed, ended) else {
        // Nobody hears what it says from here on.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!(
            "`{program}`, run for the token, did not end within {} s",
            limit.as_secs()
        ));
    };
    // Something that it has started may keep that open.
    let complained = complained.recv_timeout(Duration::from_millis(200));
    let complained = complained.unwrap_or_default();
    let said = || {
        let said = String::from_utf8_lossy(&complained);
        let token = String::from_utf8_lossy(&printed);
        let said = match token.trim() {
            "" => said.into_owned(),
            token => said.replace(token, "…"),
        };
        match said.trim() {
            "" => String::new(),
            said => format!(": {}", &said[..said.floor_char_boundary(1000)]),
        }
    };
    // It may have ended badly because nobody hears more than that.
    if printed.len() as u64 > HELPER_BYTES {
        return Err(format!(
            "`{program}`, run for the token, printed more than {HELPER_BYTES} bytes"
        ));
    }
    if !status.success() {
        return Err(format!(
            "`{program}`, run for the token, ended with {status}{}",
            said()
        ));
    }
    match std::str::from_utf8(&printed) {
        Ok(text) if text.trim().is_empty() => Err(format!(
            "`{program}`, run for the token, printed nothing{}",
            said()
        )),
        Ok(text) => Ok(Secret::new(text)),
        Err(_) => Err(format!("`{program}` printed what is no text")),
    }
}

/// What comes out of a helper until it ends, or closes that.
fn heard(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(stream) = stream {
            let _ = stream.take(HELPER_BYTES + 1).read_to_end(&mut bytes);
        }
        tell.send(bytes)
    });
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flyctls_file_gives_its_token() {
        assert!(access_token("last_login: x\naccess_token: fm2_abc\n").is_some());
        assert!(access_token("access_token: \"\"\n").is_none());
        assert!(access_token("wire_guard_state:\n  access_token: no\n").is_none());
    }

    #[test]
    fn a_project_may_not_run_commands() {
        let trust = |own| Trust {
            own,
            origins: &[],
            credentials: &[],
        };
        for command in ["cmd://op read x", "op://ops/fly/token"] {
            assert!(Source::parse(command, trust(false), None).is_err());
            assert!(Source::parse(command, trust(true), None).is_ok());
        }
        assert!(Source::parse("http://x", trust(true), None).is_err());
    }

    #[test]
    fn a_project_reads_only_files_that_its_user_lists() {
        let listed = ["file:///srv/token".to_owned()];
        let trust = |own| Trust {
            own,
            origins: &[],
            credentials: &listed,
        };
        assert!(Source::parse("file:///srv/token", trust(false), None).is_ok());
        assert!(Source::parse("file:///srv/other", trust(false), None).is_err());
        assert!(Source::parse("file:///srv/other", trust(true), None).is_ok());
    }

    #[test]
    fn what_a_project_names_does_not_go_to_this_machine() {
        let here = groundcrew::Url::parse("http://127.0.0.1:4280").unwrap();
        let fly = groundcrew::Url::parse("https://api.machines.dev").unwrap();
        let origins = ["http://127.0.0.1:4280".to_owned()];
        let reaches = |reference: &str, own, url, origins: &[String]| {
            let trust = Trust {
                own,
                origins,
                credentials: &[],
            };
            let source = Source::parse(reference, trust, None).unwrap();
            let scheme = source.goes(groundcrew_capabilities::fly::TOKENS, trust);
            scheme.reaches(url, origins)
        };
        for reference in ["env://FLY_API_TOKEN", "fly://"] {
            assert!(reaches(reference, false, &fly, &[]), "{reference}");
            assert!(!reaches(reference, false, &here, &[]), "{reference}");
            assert!(reaches(reference, false, &here, &origins), "{reference}");
            assert!(reaches(reference, true, &here, &[]), "{reference}");
        }
        for own in [true, false] {
            assert!(reaches("sim://", own, &here, &[]));
            assert!(!reaches("sim://", own, &fly, &[]));
        }
    }

    #[test]
    fn a_token_where_a_reference_belongs_is_not_shown() {
        let token = "fm2_lJPECAAAAAAAAAAAxBCYc/SECRET+x==";
        for reference in [
            token.to_owned(),
            format!("env://{token}"),
            format!("{token}://x"),
            format!("Bearer {token}"),
        ] {
            for own in [true, false] {
                let trust = Trust {
                    own,
                    origins: &[],
                    credentials: &[],
                };
                let Err(refused) = Source::parse(&reference, trust, None) else {
                    panic!("{reference} is taken");
                };
                let said = format!("{refused:?}");
                assert!(!said.contains("SECRET"), "{said}");
            }
        }
    }

    fn helper(script: &str, limit: Duration) -> Result<Secret, String> {
        output_within(&["sh", "-c", script].map(str::to_owned), limit)
    }

    #[test]
    fn a_helper_is_heard_bounded_and_never_repeats_the_token() {
        let within = Duration::from_secs(20);
        assert!(helper("echo tok", within).is_ok());
        // What it has started keeps nobody waiting.
        assert!(helper("echo tok; exec >&-; sleep 1", within).is_ok());
        assert!(helper("sleep 30 >&- 2>&- & echo tok", within).is_ok());
        for (script, says) in [
            ("echo not signed in >&2; exit 3", ": not signed in"),
            (
                "echo tok-1; echo the tok-1 is old >&2; exit 3",
                "the … is old",
            ),
            ("true", "printed nothing"),
            ("yes x | head -c 70000", "more than 65536 bytes"),
            ("printf '\\377'", "no text"),
        ] {
            let said = helper(script, within).unwrap_err();
            assert!(said.contains(says) && !said.contains("tok-1"), "{said}");
        }
        let long = helper("yes x | head -c 9000 >&2; exit 1", within);
        assert!(long.unwrap_err().len() < 1200);
        let began = Instant::now();
        for script in ["sleep 30", "echo tok; exec >&-; sleep 30"] {
            let said = helper(script, Duration::from_millis(300)).unwrap_err();
            assert!(said.contains("did not end"), "{said}");
        }
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
