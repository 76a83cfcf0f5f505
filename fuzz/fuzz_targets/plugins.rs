//! What a plugin says of itself: any schema is refused or followed within its bounds, whatever the
//! value. A schema and a value, an object of both.

use std::time::{Duration, Instant};

use serde_json::Value;

/// Far more than the reckoned quarter of a second, on a slow machine with coverage.
const MOST: Duration = Duration::from_secs(8);

pub(crate) fn run(text: &str) {
    let Ok(described) = groundcrew::json::parse::<Value>(text.as_bytes()) else {
        return;
    };
    let began = Instant::now();
    let told = groundcrew::judge(&described["schema"].to_string(), &described["value"]);
    assert!(began.elapsed() < MOST, "it took {:?}", began.elapsed());
    for fault in told.unwrap_or_else(|refused| vec![refused]) {
        assert!(fault.len() < 4 << 10, "{} bytes are said", fault.len());
    }
}
