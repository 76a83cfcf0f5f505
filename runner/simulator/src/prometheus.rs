//! Prometheus as Fly offers it: instant queries over an organisation's metrics.

use std::sync::Arc;

use groundcrew_fleet::Fleet;
use serde_json::json;

use crate::query::Query;
use crate::service::{Answered, Call, Row, Service, answer, ok};

/// The metrics.
#[derive(Debug)]
pub(crate) struct Prometheus;

impl Service for Prometheus {
    fn routes(self: Arc<Self>) -> Vec<Row> {
        vec![Row::read(
            "metrics.query",
            "GET|POST /prometheus/{org}/api/v1/query",
            query,
        )]
    }
}

/// As Prometheus answers an instant query: not with the Machines API's errors.
fn query(fleet: &mut Fleet, call: &Call<'_>) -> Answered {
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
    let at = fleet.now().as_millis() as f64 / 1000.0;
    let series = fleet.metric(asked).iter();
    let result: Vec<_> = series
        .map(|sample| json!({ "metric": sample.labels, "value": [at, sample.value] }))
        .collect();
    let data = json!({ "resultType": "vector", "result": result });
    ok(json!({ "status": "success", "data": data }))
}
