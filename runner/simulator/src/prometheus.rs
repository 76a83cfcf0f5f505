//! Prometheus as Fly offers it, and what its queries are answered: what tests said. Queries are not
//! understood, only known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use groundcrew_fleet::{Fleet, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Running;
use crate::lock::lock;
use crate::query::Query;
use crate::service::{Answered, Call, ControlError, Row, Service, answer, ok};

/// One series and its present value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Labels by name.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The value as Prometheus writes it, `NaN` included.
    pub value: String,
}

impl Sample {
    /// One without labels.
    pub fn of(value: impl ToString) -> Self {
        Self {
            labels: BTreeMap::new(),
            value: value.to_string(),
        }
    }
}

/// The samples of each query; none of one that nobody has spoken of, as of a series that does not
/// exist.
#[derive(Debug, Default)]
pub(crate) struct Prometheus(Mutex<BTreeMap<String, Vec<Sample>>>);

impl Service for Prometheus {
    fn routes(self: Arc<Self>) -> Vec<Row> {
        vec![Row::read(
            "metrics.query",
            "GET|POST /prometheus/{org}/api/v1/query",
            move |fleet, call| self.query(fleet, call),
        )]
    }

    fn told(&self, what: &str, body: &[u8]) -> Option<Result<Value, ControlError>> {
        (what == "metric").then(|| self.metric(body))
    }
}

impl Prometheus {
    fn set(&self, query: String, samples: Vec<Sample>) {
        lock(&self.0).insert(query, samples);
    }

    /// What a query is answered from now on.
    fn metric(&self, body: &[u8]) -> Result<Value, ControlError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Told {
            query: String,
            samples: Vec<Sample>,
        }
        let told: Told = serde_json::from_slice(body).map_err(|error| (400, error.to_string()))?;
        let samples = told.samples.len();
        self.set(told.query, told.samples);
        Ok(json!({ "samples": samples }))
    }

    /// As Prometheus answers an instant query: not with the Machines API's errors.
    fn query(&self, fleet: &Fleet, call: &Call<'_>) -> Answered {
        let form = Query::parse(&String::from_utf8_lossy(call.raw));
        let asked = form.get("query").or_else(|| call.query.get("query"));
        let Some(asked) = asked else {
            let error = json!({
                "status": "error",
                "errorType": "bad_data",
                "error": "invalid parameter \"query\": unexpected end of input",
            });
            return answer(400, error);
        };
        let data = json!({ "resultType": "vector", "result": self.vector(asked, fleet.now()) });
        ok(json!({ "status": "success", "data": data }))
    }

    fn vector(&self, query: &str, now: Time) -> Vec<Value> {
        let at = now.as_millis() as f64 / 1000.0;
        let known = lock(&self.0);
        let samples = known.get(query).into_iter().flatten();
        samples
            .map(|sample| json!({ "metric": sample.labels, "value": [at, sample.value] }))
            .collect()
    }
}

impl Running {
    /// Answers a metrics query with these samples from now on; with none it has no data.
    pub fn set_metric(&self, query: &str, samples: Vec<Sample>) {
        if let Some(prometheus) = self.world.service::<Prometheus>() {
            prometheus.set(query.to_owned(), samples);
        }
    }
}
