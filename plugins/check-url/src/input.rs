//! What an operator can say.

use std::time::Duration;

use groundcrew_plugin::{Error, Result, Timespan};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::Statuses;

/// So many URLs at most: all of them are looked at at the same time.
const MOST: usize = 100;

/// How much of a body is searched, in bytes. Every answer is kept in the journal.
const SEARCHED: u32 = 16 << 10;

/// No look may take longer. (The contract.)
const LONGEST: Duration = Duration::from_secs(60);

/// Nothing is asked more often, nor given less time.
const SHORTEST: Duration = Duration::from_secs(1);

/// What to look at, and what it is to answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The URLs, at most 100. All of them are looked at at the same time.
    #[schemars(length(min = 1, max = 100))]
    pub urls: Vec<String>,
    /// The status that is expected, or a list of them.
    #[serde(default)]
    pub status: Statuses,
    /// What the first 16 KiB of the body have to contain.
    #[serde(default)]
    pub contains: Option<String>,
    /// The URLs may be inside a private network or on this machine, which is a verb of its own.
    #[serde(default)]
    pub private: bool,
    /// How long from one look to the next, a second at least.
    #[serde(default = "default_every")]
    pub every: Timespan,
    /// How long it may take until a URL answers as expected; there is only one look if `0s`.
    #[serde(default = "default_within")]
    pub within: Timespan,
    /// How many times in a row it has to.
    #[serde(default = "default_successes")]
    #[schemars(range(min = 1))]
    pub successes: u32,
    /// How long one look may take, a minute at most.
    #[serde(default = "default_timeout")]
    pub timeout: Timespan,
    /// How it is asked.
    #[serde(default)]
    pub method: Method,
}

/// The methods that change nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// With a body.
    #[default]
    Get,
    /// The same without a body.
    Head,
    /// What may be asked.
    Options,
}

impl From<Method> for groundcrew_plugin::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::Get,
            Method::Head => Self::Head,
            Method::Options => Self::Options,
        }
    }
}

fn default_every() -> Timespan {
    Timespan::seconds(5)
}

fn default_within() -> Timespan {
    Timespan::minutes(1)
}

fn default_successes() -> u32 {
    1
}

fn default_timeout() -> Timespan {
    Timespan::seconds(10)
}

impl Input {
    /// How much of a body is wanted, in bytes.
    pub(crate) fn kept(&self) -> u32 {
        match self.contains {
            Some(_) => SEARCHED,
            None => 0,
        }
    }

    /// What a schema cannot say.
    ///
    /// # Errors
    /// Names the field.
    pub(crate) fn check(&self) -> Result<()> {
        if !(1..=MOST).contains(&self.urls.len()) {
            return Err(Error::invalid(format!(
                "`urls` has {} of them: there can be from 1 to {MOST}",
                self.urls.len()
            )));
        }
        if self.status.is_empty() {
            return Err(Error::invalid("`status` is empty: no answer would do"));
        }
        if self.contains.is_some() && self.method == Method::Head {
            return Err(Error::invalid(
                "`contains` is about the body, and an answer to `head` has none",
            ));
        }
        if self.every.duration() < SHORTEST {
            return Err(Error::invalid(format!(
                "`every` is {}: looks are 1s apart at least",
                self.every
            )));
        }
        if !(SHORTEST..=LONGEST).contains(&self.timeout.duration()) {
            return Err(Error::invalid(format!(
                "`timeout` is {}: a look may take from 1s to 1m",
                self.timeout
            )));
        }
        self.check_successes()
    }

    fn check_successes(&self) -> Result<()> {
        let Some(further) = self.successes.checked_sub(1) else {
            return Err(Error::invalid(
                "`successes` is 0: then there is nothing to do",
            ));
        };
        let least = self.every.duration().saturating_mul(further);
        if least > self.within.duration() {
            return Err(Error::invalid(format!(
                "{} looks that are {} apart do not fit into `within`, {}",
                self.successes, self.every, self.within
            )));
        }
        Ok(())
    }
}
