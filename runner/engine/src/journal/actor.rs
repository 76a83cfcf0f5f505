//! Who runs something, and which process of theirs.

use serde::{Deserialize, Serialize};

use crate::system::{self, Process};

/// Who runs it, as told by the program that embeds the engine.
///
/// The default is a process of which nothing is known: it is never surely gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The person or account.
    pub user: String,
    /// The machine.
    pub host: String,
    /// The process on it.
    pub process: u32,
    /// The boot that process belongs to, a space, and when it started, so that a later process of the
    /// same number is not mistaken for it; empty if unknown.
    #[serde(default)]
    pub boot: String,
    /// Where that number was given: two containers on one machine have numbers of their own. Empty if
    /// unknown, and in journals of version 0.1.0.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

impl Actor {
    /// Somebody in this process.
    pub fn here(user: String) -> Self {
        let this = system::this();
        Self {
            user,
            host: this.host,
            process: this.number,
            boot: format!("{} {}", this.boot, this.started),
            namespace: this.namespace,
        }
    }

    /// Whether its process is gone, as far as that can be known from here. False: it is alive, or
    /// nobody here can tell, and the expiry of its claim decides.
    pub fn surely_gone(&self) -> bool {
        let (boot, started) = self.boot.split_once(' ').unwrap_or_default();
        system::surely_gone(&Process {
            host: self.host.clone(),
            boot: boot.to_owned(),
            namespace: self.namespace.clone(),
            number: self.process,
            started: started.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_here_is_not_gone_and_an_unknown_one_is_not_either() {
        let me = Actor::here("me".to_owned());
        assert!(!me.surely_gone());
        assert!(!Actor::default().surely_gone());
        // Another process had this number before.
        let earlier = |namespace: &str| Actor {
            boot: format!("{}1", me.boot),
            namespace: namespace.to_owned(),
            ..me.clone()
        };
        assert!(earlier(&me.namespace).surely_gone());
        assert!(!earlier("pid:[1]").surely_gone(), "in another container");
        assert!(!earlier("").surely_gone());
    }

    /// As version 0.1.0 wrote it: on this very host and boot, and of no process that there is.
    #[test]
    fn an_actor_of_an_old_journal_is_never_surely_gone() {
        let me = Actor::here("me".to_owned());
        let old = serde_json::json!({
            "user": "me", "host": me.host, "process": me.process, "boot": format!("{}1", me.boot),
        });
        let old: Actor = serde_json::from_value(old).unwrap();
        assert_eq!(old.namespace, "");
        assert!(!old.surely_gone());
    }
}
