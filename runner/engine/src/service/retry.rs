//! When a request is sent again, and what is done when nobody knows what became of it.
//!
//! A request is repeated blindly only if it surely had no effect, or if repeating it is harmless.
//! After anything else (a reset, a cut-off, a 408, a 5xx) it is *found out* first whether the write
//! happened. What cannot be found out is said to be in doubt.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, RealClock};
use crate::contract::Failure;
use crate::effect::{Effect, EffectId, Found, Mode, Outcome, Setting};
use crate::service::trouble::Trouble;

/// Tries of one request before its failure is final, beyond the first.
const RETRIES: usize = 6;

/// A service may ask for patience, but not for more than this much of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends requests of a run until they are answered.
#[derive(Clone)]
pub struct Retries {
    clock: Arc<dyn Clock>,
    seed: u64,
}

impl Retries {
    /// By the run's clock.
    pub fn new(setting: &Setting) -> Self {
        Self {
            clock: setting.clock.clone(),
            seed: setting.seed,
        }
    }

    /// By the target's own time, for what is asked of the target itself: in a rehearsal no virtual
    /// time makes a service more patient.
    pub fn live(setting: &Setting) -> Self {
        let clock = match setting.mode {
            Mode::Perform => setting.clock.clone(),
            Mode::Rehearsal => Arc::new(RealClock::new(
                Timestamp::UNIX_EPOCH,
                setting.target.time_scale,
            )),
        };
        Self {
            clock,
            seed: setting.seed,
        }
    }

    /// How long to wait before each further try.
    pub fn delays(&self, effect: &EffectId) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(250))
            .with_max_delay(Duration::from_secs(8))
            .with_max_times(RETRIES)
            .with_jitter()
            .with_jitter_seed(self.seed ^ effect.number)
            .build()
    }

    /// Sends a read until it is answered, or its failure is final.
    pub async fn read<T, F>(&self, effect: &Effect, send: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let answer = self.until_final(&effect.id, &effect.cancel, send).await;
        answer.map_err(|trouble| trouble.failure)
    }

    /// The same for the sake of an effect, and not ended early.
    pub async fn read_to_end<T, F>(
        &self,
        effect: &EffectId,
        send: impl FnMut() -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        self.until_final(effect, &CancellationToken::new(), send)
            .await
    }

    /// The trouble that is left is final: whoever asked need not try again.
    async fn until_final<T, F>(
        &self,
        effect: &EffectId,
        cancel: &CancellationToken,
        mut send: impl FnMut() -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let mut delays = self.delays(effect);
        loop {
            match send().await {
                Ok(value) => return Ok(value),
                Err(trouble) => match delays.next() {
                    Some(delay) if trouble.transient => {
                        let paused = self.pause(cancel, delay, trouble.retry_after).await;
                        paused.map_err(Trouble::refused)?;
                    }
                    Some(_) | None => {
                        return Err(Trouble {
                            transient: false,
                            ..trouble
                        });
                    }
                },
            }
        }
    }

    /// Sends a write until it is known what became of it, or known that this cannot be known.
    pub async fn write<F, G>(
        &self,
        effect: &Effect,
        mut send: impl FnMut() -> F,
        mut find_out: impl FnMut() -> G,
    ) -> Outcome
    where
        F: Future<Output = Result<Outcome, Trouble>>,
        G: Future<Output = Found>,
    {
        let mut delays = self.delays(&effect.id);
        loop {
            let trouble = match send().await {
                Ok(outcome) => return outcome,
                Err(trouble) => trouble,
            };
            if !trouble.may_have_happened {
                match delays.next() {
                    Some(delay) if trouble.transient => {
                        let paused = self.pause(&effect.cancel, delay, trouble.retry_after).await;
                        if paused.is_err() {
                            return trouble.failure.into();
                        }
                        continue;
                    }
                    Some(_) | None => return trouble.failure.into(),
                }
            }
            // Boxed, as what is rare and large: thousands of effects wait here at once.
            match Box::pin(find_out()).await {
                Found::Happened(outcome) => return outcome,
                Found::DidNot => {
                    let did_not = || said(&trouble.failure, "it did not happen");
                    let Some(delay) = delays.next() else {
                        return did_not().into();
                    };
                    let paused = self.pause(&effect.cancel, delay, trouble.retry_after).await;
                    if paused.is_err() {
                        return did_not().into();
                    }
                }
                Found::Unknown(why) => {
                    return Outcome::in_doubt(said(
                        &trouble.failure,
                        &format!("it may have happened: {why}"),
                    ));
                }
            }
        }
    }

    /// Waits before a further try, as long as the service `asked` for but not longer than patience
    /// lasts.
    ///
    /// # Errors
    /// It was cancelled meanwhile.
    pub async fn pause(
        &self,
        cancel: &CancellationToken,
        delay: Duration,
        asked: Option<Duration>,
    ) -> Result<(), Failure> {
        let delay = asked.map_or(delay, |asked| asked.max(delay).min(PATIENCE));
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Failure::Cancelled("ended while waiting to try again".to_owned())),
            () = self.clock.sleep(delay) => Ok(()),
        }
    }
}

/// A failure's text with a few words behind it.
pub fn said(failure: &Failure, more: &str) -> Failure {
    Failure::Unavailable(format!("{}; {more}", failure.parts().1))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::clock::BoxFuture;
    use crate::service::trouble::retry_after;

    /// Never sleeps, and knows for how long it was to.
    #[derive(Default)]
    struct Awake(Mutex<Vec<Duration>>);

    impl Clock for Awake {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }
        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            self.0.lock().unwrap().push(duration);
            Box::pin(std::future::ready(()))
        }
    }

    fn asked(text: &str) -> Option<Duration> {
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("retry-after", text.parse().unwrap());
        retry_after(&headers)
    }

    #[tokio::test]
    async fn a_service_is_waited_for_as_long_as_it_asks_up_to_a_minute() {
        let clock = Arc::new(Awake::default());
        let retries = Retries {
            clock: clock.clone(),
            seed: 1,
        };
        let (own, second) = (Duration::from_secs(8), Duration::from_secs(1));
        for (text, waits) in [
            ("0", own),
            ("7", own),
            ("8", own),
            ("9", 9 * second),
            ("59", 59 * second),
            ("60", PATIENCE),
            ("61", PATIENCE),
            ("18446744073709551615", PATIENCE),
            // What is no number of seconds is not asked for.
            ("18446744073709551616", own),
            ("-1", own),
            ("1.5", own),
            ("Wed, 21 Oct 2099 07:28:00 GMT", own),
        ] {
            let never = CancellationToken::new();
            let paused = retries.pause(&never, own, asked(text)).await;
            assert_eq!(paused, Ok(()));
            assert_eq!(clock.0.lock().unwrap().pop(), Some(waits), "{text}");
        }
        assert_eq!(PATIENCE, 60 * second);
    }

    #[tokio::test]
    async fn a_request_is_sent_seven_times_and_then_its_failure_is_final() {
        for (failing, wins) in [(RETRIES, true), (RETRIES + 1, false)] {
            let clock = Arc::new(Awake::default());
            let retries = Retries {
                clock: clock.clone(),
                seed: 1,
            };
            let effect = EffectId {
                run: "run".into(),
                step: "step".into(),
                number: 1,
            };
            let mut sent = 0;
            let answer = retries.read_to_end(&effect, || {
                sent += 1;
                let answer = match sent > failing {
                    true => Ok(sent),
                    false => Err(Trouble {
                        transient: true,
                        retry_after: Some(Duration::from_secs(3600)),
                        ..Trouble::refused(Failure::RateLimited("later".to_owned()))
                    }),
                };
                std::future::ready(answer)
            });
            let answer = answer.await;
            assert_eq!(answer.is_ok(), wins);
            assert_eq!(sent, RETRIES + 1);
            let slept = clock.0.lock().unwrap().clone();
            assert_eq!(slept, vec![PATIENCE; RETRIES]);
        }
    }
}
