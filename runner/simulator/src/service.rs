//! What is served: services, each with a table of routes. One row says all of a route: its name, its
//! address, whether it writes, whose it is, how often it may be asked, and what is done.
//!
//! Routing, tokens, rate limits, faults and the log ask the row and know no service by name. So a
//! service is a file of its own, and a line in the list of `lib.rs`.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use groundcrew_fleet::api::ApiError;
use groundcrew_fleet::{Caller, Fleet};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::query::{Query, decode};
use crate::token::Token;

/// A kind of address that is served, with what it keeps beside the fleet.
pub(crate) trait Service: Any + fmt::Debug + Send + Sync {
    /// Its routes. No two services answer the same address.
    fn routes(self: Arc<Self>) -> Vec<Row>;

    /// Is told something by `POST /_sim/{what}`; `None` if that is not for this service.
    fn told(&self, _what: &str, _body: &[u8]) -> Option<Result<Value, ControlError>> {
        None
    }
}

/// Why something under `/_sim/` was not done: a status and words.
pub(crate) type ControlError = (u16, String);

/// What a route answers, or how it refuses.
pub(crate) type Answered = Result<Answer, ApiError>;

type Does = dyn Fn(&mut Fleet, &Call<'_>) -> Answered + Send + Sync;

/// The app that a route is about and its path does not name, out of the body or by the id.
type AppOf = fn(&Fleet, &Route, &[u8]) -> Option<String>;

/// One route.
pub(crate) struct Row {
    /// What fault rules and logs call it, such as `machines.restart`.
    pub(crate) name: &'static str,
    /// Whether a token that only reads may not.
    pub(crate) writes: bool,
    /// Whether tokens of other organisations may.
    pub(crate) anyones: bool,
    /// How often it may be asked; as often as one likes if none.
    pub(crate) rate: Option<Rate>,
    pub(crate) app_of: Option<AppOf>,
    /// `METHOD /path`, or `METHOD|METHOD /path`. Parts are `{app}`, `{id}`, `{key}` and `{org}`.
    address: &'static str,
    does: Box<Does>,
}

impl Row {
    /// A route that changes nothing.
    pub(crate) fn read(
        name: &'static str,
        address: &'static str,
        does: impl Fn(&mut Fleet, &Call<'_>) -> Answered + Send + Sync + 'static,
    ) -> Row {
        Row {
            name,
            writes: false,
            anyones: false,
            rate: None,
            app_of: None,
            address,
            does: Box::new(does),
        }
    }

    /// One that does.
    pub(crate) fn write(
        name: &'static str,
        address: &'static str,
        does: impl Fn(&mut Fleet, &Call<'_>) -> Answered + Send + Sync + 'static,
    ) -> Row {
        Row {
            writes: true,
            ..Row::read(name, address, does)
        }
    }

    pub(crate) fn limited(self, rate: Rate) -> Row {
        Row {
            rate: Some(rate),
            ..self
        }
    }

    pub(crate) fn anyones(self) -> Row {
        Row {
            anyones: true,
            ..self
        }
    }

    pub(crate) fn of_app(self, app_of: AppOf) -> Row {
        Row {
            app_of: Some(app_of),
            ..self
        }
    }

    pub(crate) fn perform(&self, fleet: &mut Fleet, call: &Call<'_>) -> Answered {
        (self.does)(fleet, call)
    }

    fn parts<'a>(&self, method: &str, path: &[&'a str]) -> Option<Parts<'a>> {
        let (methods, pattern) = self.address.split_once(" /")?;
        let pattern = pattern.split('/');
        let fits = methods.split('|').any(|each| each == method);
        if !fits || pattern.clone().count() != path.len() {
            return None;
        }
        let mut parts = Parts::default();
        for (wanted, found) in pattern.zip(path) {
            match wanted {
                "{app}" => parts.app = found,
                "{id}" => parts.id = found,
                "{key}" => parts.key = found,
                "{org}" => parts.org = Some(found),
                word if word == *found => {}
                _ => return None,
            }
        }
        Some(parts)
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.address)
    }
}

/// How often something may be asked about one Machine or app: one each `gap`, and so many at once.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Milliseconds.
    pub(crate) gap: u64,
    pub(crate) burst: u64,
    /// Counted by the region in which a Machine is to be made, as there is no Machine yet.
    pub(crate) by_region: bool,
}

#[derive(Default)]
struct Parts<'a> {
    app: &'a str,
    id: &'a str,
    key: &'a str,
    org: Option<&'a str>,
}

/// A row, and what it is asked about; parts that the path does not name are empty.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) row: Arc<Row>,
    pub(crate) app: String,
    /// A Machine, or a release.
    pub(crate) id: String,
    /// A metadata key.
    pub(crate) key: String,
    /// The organisation, where the path names one.
    pub(crate) org: Option<String>,
}

/// Reads a path; `None` is a route that does not exist.
pub(crate) fn find(rows: &[Arc<Row>], method: &str, path: &str) -> Option<Route> {
    let path: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (row, parts) = rows
        .iter()
        .find_map(|row| Some((row, row.parts(method, &path)?)))?;
    Some(Route {
        row: row.clone(),
        app: text(parts.app),
        id: text(parts.id),
        key: text(parts.key),
        org: parts.org.map(text),
    })
}

/// A part of a path. A `+` in it is one, unless something else is escaped.
fn text(part: &str) -> String {
    if part.contains('%') {
        decode(part)
    } else {
        part.to_owned()
    }
}

/// A request to a route, as what is done there sees it.
pub(crate) struct Call<'a> {
    pub(crate) app: &'a str,
    pub(crate) id: &'a str,
    pub(crate) key: &'a str,
    pub(crate) query: &'a Query,
    pub(crate) raw: &'a [u8],
    pub(crate) token: &'a Token,
    pub(crate) caller: Caller<'a>,
}

impl Call<'_> {
    /// The body. Only objects: serde would read a struct from a list as well, and Fly does not.
    pub(crate) fn body<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let refused =
            |why: &dyn fmt::Display| ApiError::new(400, format!("json: cannot unmarshal: {why}"));
        if self.raw.trim_ascii_start().first() != Some(&b'{') {
            return Err(refused(&"the body is not an object"));
        }
        serde_json::from_slice(self.raw).map_err(|error| refused(&error))
    }

    pub(crate) fn optional_body<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        let empty = self.raw.iter().all(u8::is_ascii_whitespace);
        if empty { Ok(T::default()) } else { self.body() }
    }
}

/// What comes of a call.
pub(crate) enum Answer {
    Now(Reply),
    /// Not yet: it is asked again whenever the Machine changes. When `millis` have passed without
    /// another answer, `late` is it.
    NotYet {
        millis: u64,
        late: ApiError,
    },
}

/// 200 with this.
pub(crate) fn ok<T: Serialize + Send + 'static>(value: T) -> Answered {
    answer(200, value)
}

/// This status with this.
pub(crate) fn answer<T: Serialize + Send + 'static>(status: u16, value: T) -> Answered {
    Ok(Answer::Now(Reply {
        status,
        body: Box::new(move || serde_json::to_vec(&value).unwrap_or_default()),
    }))
}

/// This status without a body.
pub(crate) fn empty(status: u16) -> Answered {
    Ok(Answer::Now(Reply {
        status,
        body: Box::new(Vec::new),
    }))
}

/// A status and a body that is not yet written, so that large ones are written without the lock.
pub(crate) struct Reply {
    pub(crate) status: u16,
    body: Box<dyn FnOnce() -> Vec<u8> + Send>,
}

impl Reply {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        (self.body)()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn rows() -> Vec<Arc<Row>> {
        let services = crate::services().into_iter();
        services.flat_map(Service::routes).map(Arc::new).collect()
    }

    #[test]
    fn every_row_is_found_by_its_own_address() {
        let rows = rows();
        for row in &rows {
            let (methods, path) = row.address.split_once(' ').expect("a method and a path");
            let path = path.replace("{app}", "a").replace("{id}", "b");
            let path = path.replace("{key}", "c").replace("{org}", "d");
            assert!(!path.contains('{'), "{row:?}");
            for method in methods.split('|') {
                let found = find(&rows, method, &path).expect("it is there");
                assert_eq!(found.row.name, row.name);
            }
        }
        let names: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), rows.len());
    }

    #[test]
    fn parts_are_what_the_path_says() {
        let rows = rows();
        let key = "/v1/apps/w%65b/machines/1+2/metadata/a%2Bb+c/";
        let found = find(&rows, "GET", key).expect("it is there");
        assert_eq!((found.app.as_str(), found.id.as_str()), ("web", "1+2"));
        assert_eq!(found.key, "a+b c");
        assert_eq!(found.org, None);
        let org = find(&rows, "GET", "/v1/orgs//machines").expect("it is there");
        assert_eq!(org.org.as_deref(), Some(""));
        for (method, path) in [("PUT", "/v1/apps"), ("GET", "/v1"), ("GET", "/v1/apps/a/b")] {
            assert!(find(&rows, method, path).is_none(), "{method} {path}");
        }
    }
}
