//! The executor and the host's functions against a scripted host.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::testing::{Failure, TestHost, machine};
use crate::{Flow, Kind, Result, State, join};

/// Counts how often a future is polled.
struct Counted<'a, F>(F, &'a Cell<usize>);

impl<F: Future + Unpin> Future for Counted<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.1.set(self.1.get() + 1);
        Pin::new(&mut self.0).poll(context)
    }
}

#[test]
fn five_thousand_tasks_are_polled_twice_each() {
    let polls = Cell::new(0);
    let tested = TestHost::new().run(async |host| {
        let sleep = async |n: u64| {
            let sleep = Box::pin(host.sleep(Duration::from_millis(n)));
            Counted(sleep, &polls).await
        };
        let results = host.for_each(0..5000, 5000, sleep).await;
        results.into_iter().collect::<Result<Vec<()>>>()
    });
    assert_eq!(tested.result.unwrap().len(), 5000);
    assert_eq!(tested.max_in_flight, 5000);
    assert_eq!(
        polls.get(),
        10_000,
        "once to submit and once when it is done"
    );
}

#[test]
fn results_are_in_the_order_of_the_items() {
    let tested = TestHost::new().run(async |host| {
        let work = async |n: u64| {
            host.sleep(Duration::from_secs(10 - n)).await.unwrap();
            n
        };
        Ok(host.for_each(0..10, 3, work).await)
    });
    assert_eq!(tested.result.unwrap(), (0..10).collect::<Vec<_>>());
    assert_eq!(tested.max_in_flight, 3);
}

#[test]
fn a_stop_lets_those_in_flight_finish() {
    let tested = TestHost::new().run(async |host| {
        let work = async |n: u64| host.sleep(Duration::from_secs(n)).await.map(|()| n);
        let judge = |result: &Result<u64>| {
            if *result == Ok(2) {
                Flow::Stop
            } else {
                Flow::Continue
            }
        };
        Ok(host.for_each_until(1..=9, 3, work, judge).await)
    });
    let swept = tested.result.unwrap();
    let ended: Vec<u64> = swept.results.into_iter().map(Result::unwrap).collect();
    assert_eq!(ended, [1, 2, 3, 4]);
    assert_eq!(swept.not_attempted, [5, 6, 7, 8, 9]);
}

#[test]
fn a_timeout_forgets_what_it_gave_up() {
    let tested = TestHost::new()
        .machine(machine("web", "m1"))
        .delay("machines.stop", "m1", Duration::from_secs(60))
        .run(async |host| {
            let machine = host.machine("web", "m1").await?;
            let stop = async { machine.stop().await };
            host.timeout(Duration::from_secs(5), stop).await
        });
    assert_eq!(tested.result.unwrap_err().kind(), Kind::Timeout);
    assert_eq!(
        tested.took,
        Duration::from_secs(5) + crate::testing::LATENCY
    );
}

#[test]
fn joined_futures_wait_together() {
    let tested = TestHost::new().run(async |host| {
        let (first, second) = join(
            host.sleep(Duration::from_secs(2)),
            host.sleep(Duration::from_secs(3)),
        )
        .await;
        first.and(second)
    });
    assert!(tested.result.is_ok());
    assert_eq!(tested.took, Duration::from_secs(3));
}

#[test]
fn a_dropped_lease_is_given_back() {
    let tested = TestHost::new()
        .machine(machine("web", "m1"))
        .run(async |host| {
            let machine = host.machine("web", "m1").await?;
            drop(machine.lease().await?);
            Ok(())
        });
    assert_eq!(tested.subjects_of("machines.release"), ["m1"]);
    let _ = tested.holding_nothing();
}

#[test]
fn a_partial_listing_is_not_taken_for_a_whole_one() {
    let host = || {
        TestHost::new()
            .machine(machine("web", "m1"))
            .missing_region("ams")
    };
    let whole = host().run(async |host| host.organisation().list().await);
    assert_eq!(
        whole.result.unwrap_err().message(),
        "the listing is partial: no answer from ams"
    );
    let partial = host().run(async |host| {
        host.organisation()
            .state(State::Started)
            .list_partial()
            .await
    });
    assert_eq!(partial.result.unwrap().missing_regions, ["ams"]);
}

#[test]
fn failures_keep_their_kind() {
    let denied = Failure::Denied("the grant lacks `cordon`".to_owned());
    let host = TestHost::new()
        .machine(machine("web", "m1"))
        .fail("machines.cordon", "m1", denied);
    let tested = host.run(async |host| host.machine("web", "m1").await?.cordon().await);
    assert_eq!(tested.result.unwrap_err().kind(), Kind::Denied);
}

#[test]
fn waiting_for_nothing_is_an_error() {
    let tested = TestHost::new().run(async |_| std::future::pending::<Result<()>>().await);
    assert_eq!(tested.result.unwrap_err().kind(), Kind::Other);
}
