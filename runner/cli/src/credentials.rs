//! Where tokens come from. A configuration holds references only: `fly://` (flyctl's own order),
//! `env://NAME`, `file://PATH`, `op://VAULT/ITEM/FIELD` (1Password's `op read`), `cmd://PROGRAM
//! ARGUMENTS`.

use std::path::{Path, PathBuf};

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
            "env" if !rest.is_empty() => Self::Environment(rest.to_owned()),
            "file" if !rest.is_empty() => Self::File(rest.into()),
            "op" if trusted && !rest.is_empty() => {
                let words = ["op", "read", reference];
                Self::Command(words.map(str::to_owned).to_vec())
            }
            "cmd" | "op" if !trusted => {
                return Err(Exit::refused(
                    format!(
                        "the project's configuration wants to run `{rest}` for a token; only your own configuration may"
                    ),
                    None,
                ));
            }
            "cmd" if !rest.trim().is_empty() => {
                Self::Command(rest.split_whitespace().map(str::to_owned).collect())
            }
            "sim" => Self::Simulator,
            _ => {
                return Err(Exit::usage(
                    format!("`{reference}` is not a reference to a credential"),
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

fn output_of(words: &[String]) -> Result<Secret, String> {
    let (program, arguments) = words
        .split_first()
        .ok_or("the command for the token is empty")?;
    let output = std::process::Command::new(program)
        .args(arguments)
        .output()
        .map_err(|e| format!("`{program}` cannot be run for the token: {e}"))?;
    if !output.status.success() {
        return Err(format!(
            "`{program}`, run for the token, ended with {}",
            output.status
        ));
    }
    String::from_utf8(output.stdout)
        .map(|text| Secret::new(&text))
        .map_err(|_| format!("`{program}` printed what is no text"))
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
        let listed = ["file:///run/token".to_owned()];
        let trust = |own| Trust {
            own,
            origins: &[],
            credentials: &listed,
        };
        assert!(Source::parse("file:///run/token", trust(false), None).is_ok());
        assert!(Source::parse("file:///run/other", trust(false), None).is_err());
        assert!(Source::parse("file:///run/other", trust(true), None).is_ok());
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
}
