//! Work on many items, a bounded number of them at once.

use std::collections::VecDeque;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::Host;

pub use futures_util::future::{join, join_all};

/// Whether [`Host::for_each_until`] begins with further items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Begin with no further item; those in flight finish.
    Stop,
}

/// What became of many items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept<T, R> {
    /// The results, in the order in which the work ended.
    pub results: Vec<R>,
    /// Items with which nothing was begun, in their order.
    pub not_attempted: Vec<T>,
}

impl Host {
    /// Does `work` for every item, for at most `parallel` at once. The results are in the order
    /// of the items.
    pub async fn for_each<T, R>(
        &self,
        items: impl IntoIterator<Item = T>,
        parallel: usize,
        work: impl AsyncFn(T) -> R,
    ) -> Vec<R> {
        let numbered = items.into_iter().enumerate();
        let numbered_work = async |(number, item)| (number, work(item).await);
        let swept = self
            .for_each_until(numbered, parallel, numbered_work, |_| Flow::Continue)
            .await;
        let mut results = swept.results;
        results.sort_unstable_by_key(|(number, _)| *number);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Does `work` for items, for at most `parallel` at once, until `judge` says stop. It sees
    /// every result in the order in which the work ended.
    pub async fn for_each_until<T, R>(
        &self,
        items: impl IntoIterator<Item = T>,
        parallel: usize,
        work: impl AsyncFn(T) -> R,
        mut judge: impl FnMut(&R) -> Flow,
    ) -> Swept<T, R> {
        let mut waiting: VecDeque<T> = items.into_iter().collect();
        let mut results = Vec::with_capacity(waiting.len());
        let mut flow = Flow::Continue;
        let mut in_flight = FuturesUnordered::new();
        loop {
            while flow == Flow::Continue && in_flight.len() < parallel.max(1) {
                let Some(item) = waiting.pop_front() else {
                    break;
                };
                in_flight.push(work(item));
            }
            let Some(result) = in_flight.next().await else {
                break;
            };
            if judge(&result) == Flow::Stop {
                flow = Flow::Stop;
            }
            results.push(result);
        }
        Swept {
            results,
            not_attempted: waiting.into(),
        }
    }
}
