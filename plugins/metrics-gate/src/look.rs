//! What one answer means.

use groundcrew_plugin::Sample;

use crate::{Bounds, Input, NoData, Reduce, Series};

/// One look at the query's answer.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) verdict: Verdict,
    /// What was held against the bounds: what is outside them first, then what has no number.
    pub(crate) compared: Vec<Series>,
    /// There was no sample, or one without a number.
    pub(crate) no_data: bool,
    /// The verdict for a person.
    pub(crate) words: String,
}

/// What a look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Within,
    Outside,
    NoData,
}

impl Look {
    pub(crate) fn at(samples: Vec<Sample>, input: &Input) -> Self {
        let bounds = input.bounds();
        let all: Vec<Series> = samples.into_iter().map(Series::of).collect();
        let series = all.len();
        let blank = all.iter().filter(|it| it.value.is_none()).count();
        let no_data = series == 0 || blank > 0;

        let mut compared = reduce(input.reduce, all);
        compared.sort_by_key(|it| match it.value {
            Some(value) => 2 * u8::from(bounds.allow(value)),
            None => 1,
        });
        let is_outside = |it: &&Series| it.value.is_some_and(|value| !bounds.allow(value));
        let outside = compared.iter().filter(is_outside).count();

        // One series outside the bounds is enough whatever the others are; a sum or an extreme of
        // some of them says nothing about all.
        let certain = !no_data || input.reduce == Reduce::Each || input.no_data == NoData::Pass;
        let (verdict, words) = match compared.iter().find(is_outside) {
            Some(first) if certain => {
                let first = in_words(first, input.reduce, bounds);
                let more = match (outside, compared.len()) {
                    (1, _) => String::new(),
                    (outside, all) => format!("; {outside} of {all} are not"),
                };
                (Verdict::Outside, format!("{first}{more}"))
            }
            _ if no_data && input.no_data != NoData::Pass => {
                let words = match series {
                    0 => "there is no data".to_owned(),
                    series => format!("{blank} of {series} series have no number"),
                };
                (Verdict::NoData, words)
            }
            _ => (Verdict::Within, format!("it is {bounds}")),
        };
        Self {
            verdict,
            compared,
            no_data,
            words,
        }
    }
}

/// What is held against the bounds. Series without a number are only among each of them.
fn reduce(how: Reduce, all: Vec<Series>) -> Vec<Series> {
    let numbers = |all: Vec<Series>| all.into_iter().filter_map(|it| Some((it.value?, it)));
    let one = match how {
        Reduce::Each => return all,
        Reduce::Max => numbers(all).max_by(|a, b| a.0.total_cmp(&b.0)),
        Reduce::Min => numbers(all).min_by(|a, b| a.0.total_cmp(&b.0)),
        Reduce::Sum => numbers(all).reduce(|a, b| (a.0 + b.0, Series::default())),
    };
    let one = one.map(|(value, of)| Series {
        value: Some(value),
        ..of
    });
    one.into_iter().collect()
}

/// A series outside the bounds.
fn in_words(series: &Series, how: Reduce, bounds: Bounds) -> String {
    let labels = series
        .labels
        .iter()
        .map(|(key, of)| format!("{key}={of:?}"));
    let labels: Vec<String> = labels.collect();
    let name = match how {
        Reduce::Sum => "the sum".to_owned(),
        Reduce::Max | Reduce::Min | Reduce::Each if labels.is_empty() => "the value".to_owned(),
        Reduce::Max | Reduce::Min | Reduce::Each => format!("{{{}}}", labels.join(",")),
    };
    let value = series.value.unwrap_or_default();
    format!("{name} is {value}, not {bounds}")
}
