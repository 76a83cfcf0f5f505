//! The queries of Fly's APIs. Values may be lists with commas.

use groundcrew_fleet::Time;
use groundcrew_fleet::api::{
    ApiError, ListQuery, OrgQuery, RestartQuery, WaitQuery, parse_go_duration,
};

use crate::query::Query;

/// The bounds of a wait. Fly answers 400 outside of them.
const WAIT_SECONDS: std::ops::RangeInclusive<u64> = 1..=60;

impl Query {
    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, ApiError> {
        let invalid = |_| ApiError::new(400, format!("invalid_argument: `{key}` must be a number"));
        self.get(key)
            .map(|text| text.parse().map_err(invalid))
            .transpose()
    }

    fn states(&self) -> Vec<String> {
        let named = self.pairs().filter(|(name, _)| *name == "state");
        let words = named
            .flat_map(|(_, value)| value.split(','))
            .filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    }

    fn limit(&self, key: &str) -> Result<Option<usize>, ApiError> {
        Ok(self
            .number(key)?
            .map(|number| usize::try_from(number).unwrap_or(usize::MAX)))
    }

    pub(crate) fn list(&self) -> ListQuery {
        let metadata = self.pairs().filter_map(|(name, value)| {
            Some((name.strip_prefix("metadata.")?.to_owned(), value.to_owned()))
        });
        ListQuery {
            region: self.text("region"),
            states: self.states(),
            include_deleted: self.flag("include_deleted"),
            summary: self.flag("summary"),
            metadata: metadata.collect(),
            include_leases: self.flag("include_leases"),
        }
    }

    pub(crate) fn org(&self) -> Result<OrgQuery, ApiError> {
        let updated_after = match self.get("updated_after") {
            None => None,
            Some(text) => match Time::parse(text) {
                Some(at) => Some(at),
                None => {
                    return Err(ApiError::new(
                        400,
                        "invalid_argument: `updated_after` must be RFC 3339",
                    ));
                }
            },
        };
        Ok(OrgQuery {
            region: self.text("region"),
            states: self.states(),
            include_deleted: self.flag("include_deleted"),
            summary: self.flag("summary"),
            updated_after,
            cursor: self.text("cursor"),
            limit: self.limit("limit")?,
        })
    }

    pub(crate) fn restart(&self) -> RestartQuery {
        RestartQuery {
            force_stop: self.flag("force_stop"),
            timeout: self.text("timeout").map(|text| {
                if text.bytes().all(|b| b.is_ascii_digit()) {
                    format!("{text}s")
                } else {
                    text
                }
            }),
            signal: self.text("signal"),
        }
    }

    /// How many entries are asked for, if the query says so.
    pub(crate) fn entries(&self) -> Result<Option<usize>, ApiError> {
        self.limit("limit")
    }

    /// What is waited for, and for how many milliseconds.
    pub(crate) fn wait(&self) -> Result<(WaitQuery, u64), ApiError> {
        let refused =
            || ApiError::new(400, "invalid_argument: timeout must be in range [1s, 1m0s]");
        let millis = match self.get("timeout") {
            None => *WAIT_SECONDS.end() * 1000,
            Some(text) => match text.parse::<u64>() {
                Ok(seconds) => seconds.saturating_mul(1000),
                Err(_) => parse_go_duration(text).ok_or_else(refused)?,
            },
        };
        if !(*WAIT_SECONDS.start() * 1000..=*WAIT_SECONDS.end() * 1000).contains(&millis) {
            return Err(refused());
        }
        let version = self.text("version").or_else(|| self.text("instance_id"));
        Ok((
            WaitQuery {
                states: self.states(),
                version,
                from_event_id: self.text("from_event_id"),
            },
            millis,
        ))
    }
}
