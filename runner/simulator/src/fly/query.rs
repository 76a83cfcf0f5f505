//! Reading query strings: keys may repeat and values may be lists with commas.

use groundcrew_fleet::Time;
use groundcrew_fleet::api::{
    ApiError, ListQuery, OrgQuery, RestartQuery, WaitQuery, parse_go_duration,
};

/// The bounds of a wait. Fly answers 400 outside of them.
const WAIT_SECONDS: std::ops::RangeInclusive<u64> = 1..=60;

#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Query(pairs.collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|value| matches!(value, "true" | "1" | "t"))
    }

    /// A flag that is also set when it stands there without a value.
    pub(crate) fn switch(&self, key: &str) -> bool {
        let bare = |(name, value): &(String, String)| name == key && value.is_empty();
        self.flag(key) || self.0.iter().any(bare)
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, ApiError> {
        let invalid = |_| ApiError::new(400, format!("invalid_argument: `{key}` must be a number"));
        self.get(key)
            .map(|text| text.parse().map_err(invalid))
            .transpose()
    }

    fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(str::to_owned)
    }

    fn states(&self) -> Vec<String> {
        let named = self.0.iter().filter(|(name, _)| name == "state");
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
        let metadata = self.0.iter().filter_map(|(name, value)| {
            Some((name.strip_prefix("metadata.")?.to_owned(), value.clone()))
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

/// Percent decoding; what is not sound stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte =
            escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
