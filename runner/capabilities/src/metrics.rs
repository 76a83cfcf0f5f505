//! The capability `metrics`: instant queries of a Prometheus HTTP API, Fly's own or another.
//!
//! A rehearsal reads the target's metrics as they are: what was done to the fork does not show in
//! them. Facts: the HTTP API of Prometheus, `/api/v1/query`, and Fly's documentation of its own.

use std::sync::Arc;

use groundcrew::json;
use groundcrew::service::retry::Retries;
use groundcrew::service::trouble::{Trouble, by_status};
use groundcrew::service::{LazyService, body, unreadable};
use groundcrew::{
    BoxFuture, Capability, Cover, Effect, EffectId, Executor, Failure, Linking, Name, Outcome,
    Request, Row, Scope, Setting, Unsaid, arguments,
};
use reqwest::{Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::promql;

/// The place of a target that is asked: what stands before `/api/v1/query`.
pub(crate) const PLACE: &str = "metrics_api";

/// The apps whose metrics may be asked for. A step whose grant does not say may ask for all.
const APPS: Scope = Scope {
    unsaid: Unsaid::Anything,
    about: "Apps, as names or patterns, whose metrics may be asked for; all of them if absent.",
    ..crate::fly::scopes::APPS
};

/// No answer may be larger: what Fly's endpoint allows.
const ANSWER_BYTES: usize = 16 << 20;

/// How many samples a query may have. (The contract.)
const SAMPLES: usize = 10_000;

/// The longest query. Our own bound: a longer one is most likely a mistake.
const QUERY_BYTES: usize = 16 << 10;

static ROWS: [Row; 1] = [Row {
    name: "metrics.query",
    verb: "query",
    assumes: "the metrics stay as they are now",
    ..Row::READ
}];

/// `metrics.sample`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct Sample {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: String,
    pub(crate) at: u64,
}

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Metrics;

/// The arguments of `query`.
#[derive(Serialize, Deserialize)]
struct Query {
    promql: String,
    at: Option<u64>,
}

impl Query {
    fn bounded(&self) -> Result<(), Failure> {
        if self.promql.len() > QUERY_BYTES {
            let text = format!("the query is longer than {QUERY_BYTES} bytes");
            return Err(Failure::Invalid(text));
        }
        Ok(())
    }
}

impl Capability for Metrics {
    fn name(&self) -> &'static str {
        "metrics"
    }

    fn interface(&self) -> &'static str {
        "groundcrew:host/metrics@0.1.0"
    }

    fn operations(&self) -> &'static [Row] {
        &ROWS
    }

    fn scopes(&self) -> &'static [Scope] {
        &[APPS]
    }

    fn link(&self, linking: &mut Linking<'_>) -> wasmtime::Result<()> {
        linking.operation::<(String, Option<u64>), Vec<Sample>>("query", |(promql, at)| {
            Request::new(&ROWS[0]).with(arguments(&Query { promql, at }))
        })
    }

    fn executor(&self, setting: &Setting) -> Result<Arc<dyn Executor>, String> {
        Ok(Arc::new(Executing {
            retries: Retries::live(setting),
            service: LazyService::new(setting, PLACE, by_status),
        }))
    }
}

struct Executing {
    retries: Retries,
    service: LazyService,
}

impl Executing {
    async fn query(&self, effect: &EffectId, query: &Query) -> Result<Vec<Sample>, Trouble> {
        let service = self.service.get()?;
        // By POST: a query may be longer than a URL.
        let request = service.request(
            Method::POST,
            &["api", "v1", "query"].map(Name::fixed),
            effect,
        )?;
        let mut form = vec![("query", query.promql.clone())];
        if let Some(at) = query.at {
            form.push(("time", format!("{}.{:03}", at / 1000, at % 1000)));
        }
        let form = form_encoded(&form);
        let kind = "application/x-www-form-urlencoded";
        let request = request.header(header::CONTENT_TYPE, kind).body(form);
        let answered = service.execute(request).await?;
        let status = answered.response.status();
        let headers = answered.response.headers().clone();
        let bytes = body(answered, ANSWER_BYTES).await?;
        let answer: Result<Answer, _> = json::parse(&bytes);
        match answer {
            Ok(answer) if status.is_success() && answer.status == "success" => {
                samples(answer.data).map_err(Trouble::refused)
            }
            // Prometheus says what is wrong with a query in its own words.
            Ok(answer) if answer.status == "error" => Err(refused(status, &answer)),
            _ if !status.is_success() => Err(by_status(status, &headers, &bytes)),
            Ok(_) => Err(Trouble::refused(nonsense("it is no result of a query"))),
            Err(e) => Err(unreadable(&e)),
        }
    }
}

/// Whether the grant covers what a query asks for. Where it covers every app the query is nobody's
/// business.
fn covered(cover: &Cover, query: &Query) -> Result<(), Failure> {
    if cover.has(APPS.one, promql::ANY) {
        return Ok(());
    }
    let apps = promql::apps(&query.promql);
    let apps = apps.map_err(|why| Failure::Invalid(format!("the query cannot be read: {why}")))?;
    let denied = |app: &&String| !cover.has(APPS.one, app);
    match apps.iter().find(denied) {
        None => Ok(()),
        Some(app) if app == promql::ANY => Err(Failure::Denied(
            "a part of the query asks for every app, and the grant does not cover them: write `{app=\"NAME\"}` with each metric"
                .to_owned(),
        )),
        Some(app) => Err(Failure::Denied(format!(
            "the grant does not cover the app `{app}`, which the query asks for"
        ))),
    }
}

fn form_encoded(pairs: &[(&str, String)]) -> String {
    let mut url = reqwest::Url::parse("http://form.invalid").ok();
    if let Some(url) = &mut url {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    let url = url.as_ref();
    url.and_then(|url| url.query())
        .unwrap_or_default()
        .to_owned()
}

/// What the API answers.
#[derive(Debug, Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    data: Data,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
}

#[derive(Debug, Default, Deserialize)]
struct Data {
    #[serde(default, rename = "resultType")]
    result_type: String,
    #[serde(default)]
    result: Value,
}

/// A series of an instant vector.
#[derive(Debug, Deserialize)]
struct Series {
    metric: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    value: Option<(f64, String)>,
}

fn samples(data: Data) -> Result<Vec<Sample>, Failure> {
    let wrong = |e: serde_json::Error| nonsense(&e.to_string());
    match data.result_type.as_str() {
        "scalar" => {
            let (at, value) = serde_json::from_value(data.result).map_err(wrong)?;
            Ok(vec![sample(Vec::new(), at, value)])
        }
        "vector" => {
            let series: Vec<Series> = serde_json::from_value(data.result).map_err(wrong)?;
            if series.len() > SAMPLES {
                return Err(Failure::Invalid(format!(
                    "the query has {} samples, and {SAMPLES} are the most: aggregate them",
                    series.len()
                )));
            }
            let samples = series.into_iter().map(|series| {
                let (at, value) = series
                    .value
                    .ok_or_else(|| nonsense("a series is a histogram, which has no one value"))?;
                Ok(sample(series.metric.into_iter().collect(), at, value))
            });
            samples.collect()
        }
        other => Err(Failure::Invalid(format!(
            "the query is a `{other}`: an instant vector or a scalar is wanted"
        ))),
    }
}

fn sample(labels: Vec<(String, String)>, at: f64, value: String) -> Sample {
    Sample {
        labels,
        value,
        at: (at * 1000.0).max(0.0) as u64,
    }
}

fn nonsense(why: &str) -> Failure {
    Failure::Unavailable(format!("the answer is not what Prometheus answers: {why}"))
}

fn refused(status: StatusCode, answer: &Answer) -> Trouble {
    let text = format!(
        "{} (status {}): {}",
        answer.error_type,
        status.as_u16(),
        answer.error
    );
    match status.as_u16() {
        // The server's trouble, and its limits, pass.
        429 | 500.. => Trouble {
            transient: true,
            ..Trouble::refused(Failure::Unavailable(text))
        },
        _ => Trouble::refused(Failure::Invalid(text)),
    }
}

impl Executor for Executing {
    fn perform(&self, effect: Effect) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            if effect.request.row.operation() != "query" {
                return effect.request.row.unperformed().into();
            }
            let query: Query = match effect.request.arguments() {
                Ok(query) => query,
                Err(failure) => return failure.into(),
            };
            if let Err(failure) = query.bounded() {
                return failure.into();
            }
            if let Err(failure) = covered(&effect.cover, &query) {
                return failure.into();
            }
            let ask = || self.query(&effect.id, &query);
            self.retries.read(&effect, ask).await.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(answer: Value) -> Result<Vec<Sample>, Failure> {
        samples(serde_json::from_value::<Answer>(answer).unwrap().data)
    }

    fn success(kind: &str, result: Value) -> Value {
        json!({"status": "success", "data": {"resultType": kind, "result": result}})
    }

    #[test]
    fn vectors_and_scalars_are_read_and_nothing_is_no_zero() {
        let vector = json!([{"metric": {"app": "web"}, "value": [1_700_000_000.5, "NaN"]}]);
        let read_ = read(success("vector", vector)).unwrap();
        assert_eq!(read_[0].labels, [("app".to_owned(), "web".to_owned())]);
        assert_eq!(
            (read_[0].value.as_str(), read_[0].at),
            ("NaN", 1_700_000_000_500)
        );
        let scalar = read(success("scalar", json!([1.0, "3"]))).unwrap();
        assert_eq!((scalar[0].value.as_str(), scalar[0].at), ("3", 1000));
        assert_eq!(read(success("vector", json!([]))).unwrap(), []);
    }

    #[test]
    fn what_is_no_instant_value_is_refused() {
        for (kind, result) in [
            ("matrix", json!([])),
            ("string", json!([1, "x"])),
            ("vector", json!([{"metric": {}, "histogram": [1, {}]}])),
            ("vector", json!({"a": 1})),
            ("scalar", json!([])),
        ] {
            assert!(read(success(kind, result)).is_err(), "{kind}");
        }
    }

    #[test]
    fn a_query_and_its_samples_are_bounded() {
        let many = |count: usize| -> Result<Vec<Sample>, Failure> {
            let series =
                (0..count).map(|n| json!({"metric": {"n": n.to_string()}, "value": [1, "1"]}));
            read(success("vector", series.collect()))
        };
        assert_eq!(many(SAMPLES).unwrap().len(), SAMPLES);
        let refused = many(SAMPLES + 1).unwrap_err();
        assert!(refused.parts().1.contains("aggregate"), "{refused}");
        let of = |bytes: usize| Query {
            promql: "x".repeat(bytes),
            at: None,
        };
        assert!(of(QUERY_BYTES).bounded().is_ok());
        assert!(of(QUERY_BYTES + 1).bounded().is_err());
    }

    #[test]
    fn a_query_is_escaped() {
        let form = form_encoded(&[("query", "sum(a{b=\"c d\"}) + 1".to_owned())]);
        assert_eq!(form, "query=sum%28a%7Bb%3D%22c+d%22%7D%29+%2B+1");
    }
}
