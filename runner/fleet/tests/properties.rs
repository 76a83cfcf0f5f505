//! What holds for every sequence of commands and moments.

use groundcrew_fleet::api::{CreateRequest, LeaseRequest, UpdateRequest};
use groundcrew_fleet::state::{Next, STIMULI, transition};
use groundcrew_fleet::{Caller, Fate, Fleet, Generated, Settings, State, generate};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Command {
    Advance(u64),
    Start(usize),
    Stop(usize),
    Restart(usize),
    Suspend(usize),
    Update(usize),
    Destroy(usize, bool),
    Create,
    Signal(usize),
    Cordon(usize),
    Lease(usize, u64),
    Release(usize),
    Fate(usize, Fate),
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let which = 0..4_usize;
    let fates = prop_oneof![
        Just(Fate::Normal),
        Just(Fate::NeverStarts),
        Just(Fate::ChecksFail),
        Just(Fate::HostUnreachable),
        Just(Fate::HostDiesOnRestart),
        Just(Fate::ImagePullFails),
        (0..9_000_u64).prop_map(|after_ms| Fate::OutOfMemory { after_ms }),
        (0..9_000_u64).prop_map(|boot_ms| Fate::SlowStart { boot_ms }),
    ];
    let one = prop_oneof![
        (0..20_000_u64).prop_map(Command::Advance),
        which.clone().prop_map(Command::Start),
        which.clone().prop_map(Command::Stop),
        which.clone().prop_map(Command::Restart),
        which.clone().prop_map(Command::Suspend),
        which.clone().prop_map(Command::Update),
        (which.clone(), any::<bool>()).prop_map(|(at, force)| Command::Destroy(at, force)),
        Just(Command::Create),
        which.clone().prop_map(Command::Signal),
        which.clone().prop_map(Command::Cordon),
        (which.clone(), 0..30_u64).prop_map(|(at, ttl)| Command::Lease(at, ttl)),
        which.clone().prop_map(Command::Release),
        (which, fates).prop_map(|(at, fate)| Command::Fate(at, fate)),
    ];
    proptest::collection::vec(one, 0..60)
}

/// The world and what the test itself believes about leases.
struct Run {
    fleet: Fleet,
    ids: Vec<String>,
    nonces: Vec<Option<String>>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let wanted = Generated {
            machines: 4,
            apps: 1,
            idle_ones: false,
        };
        let fleet = generate(
            Settings {
                seed,
                ..Settings::default()
            },
            &wanted,
        );
        let ids = fleet.machine_ids("web");
        Run {
            fleet,
            ids,
            nonces: vec![None; 4],
        }
    }

    fn go(&mut self, command: &Command) {
        let fleet = &mut self.fleet;
        match command {
            Command::Advance(millis) => fleet.advance_to(fleet.now().after(*millis)),
            Command::Create => {
                let config = serde_json::json!({ "image": "registry.fly.io/web:1" });
                let _ = fleet.create(
                    &Caller::default(),
                    "web",
                    &CreateRequest {
                        config,
                        ..CreateRequest::default()
                    },
                );
            }
            Command::Fate(at, fate) => assert!(fleet.set_fate("web", &self.ids[*at], *fate)),
            Command::Start(at) => self.write(*at, |fleet, caller, id| {
                fleet.start(caller, "web", id).is_ok()
            }),
            Command::Stop(at) => self.write(*at, |fleet, caller, id| {
                fleet.stop(caller, "web", id, &Default::default()).is_ok()
            }),
            Command::Restart(at) => self.write(*at, |fleet, caller, id| {
                fleet
                    .restart(caller, "web", id, &Default::default())
                    .is_ok()
            }),
            Command::Suspend(at) => self.write(*at, |fleet, caller, id| {
                fleet.suspend(caller, "web", id).is_ok()
            }),
            Command::Destroy(at, force) => self.write(*at, |fleet, caller, id| {
                fleet.destroy(caller, "web", id, *force).is_ok()
            }),
            Command::Cordon(at) => self.write(*at, |fleet, caller, id| {
                fleet.cordon(caller, "web", id).is_ok()
            }),
            Command::Signal(at) => {
                let request = groundcrew_fleet::api::SignalRequest {
                    signal: "SIGKILL".into(),
                };
                let _ = fleet.signal(&Caller::default(), "web", &self.ids[*at], &request);
            }
            Command::Update(at) => self.write(*at, |fleet, caller, id| {
                let config = serde_json::json!({ "image": "registry.fly.io/web:2" });
                fleet
                    .update(
                        caller,
                        "web",
                        id,
                        &UpdateRequest {
                            config,
                            ..UpdateRequest::default()
                        },
                    )
                    .is_ok()
            }),
            Command::Lease(at, ttl) => {
                let held = fleet.lease_get("web", &self.ids[*at]).ok();
                let request = LeaseRequest {
                    ttl: Some(*ttl),
                    description: None,
                };
                let taken =
                    fleet.lease_acquire(&Caller::default(), "web", &self.ids[*at], &request);
                assert!(held.is_none() || taken.is_err(), "a lease was taken twice");
                if let Ok(lease) = taken {
                    self.nonces[*at] = Some(lease.nonce);
                }
            }
            Command::Release(at) => self.write(*at, |fleet, caller, id| {
                fleet.lease_release(caller, "web", id).is_ok()
            }),
        }
    }

    /// A write without a nonce succeeds only while nobody holds the lease; then once with it.
    fn write(&mut self, at: usize, act: impl Fn(&mut Fleet, &Caller<'_>, &str) -> bool) {
        let id = &self.ids[at];
        let leased = self.fleet.lease_get("web", id).is_ok();
        let bare = act(&mut self.fleet, &Caller::default(), id);
        assert!(
            !(leased && bare),
            "a write passed a lease that it does not hold"
        );
        if let Some(nonce) = self.nonces[at].clone() {
            act(
                &mut self.fleet,
                &Caller {
                    nonce: Some(&nonce),
                    ..Caller::default()
                },
                id,
            );
        }
    }
}

fn reachable(from: State, to: State) -> bool {
    STIMULI
        .into_iter()
        .any(|stimulus| transition(from, stimulus) == Next::To(to))
}

fn check_events(run: &Run) {
    for id in &run.ids {
        let events = run
            .fleet
            .events("web", id, Some(50))
            .expect("destroyed ones can be read too");
        for pair in events.windows(2) {
            assert!(pair[0].id > pair[1].id, "event ids increase");
            assert!(
                pair[0].timestamp >= pair[1].timestamp,
                "time does not go back"
            );
            let (to, from) = (State::parse(&pair[0].status), State::parse(&pair[1].status));
            let (Some(to), Some(from)) = (to, from) else {
                panic!("unknown state in {pair:?}")
            };
            // The generator puts its Machines into their states at once.
            let made_up = from == State::Creating && to == State::Started;
            assert!(
                made_up || reachable(from, to),
                "{from:?} does not lead to {to:?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_sequence_keeps_the_promises(seed in 0..50_u64, commands in commands()) {
        let mut run = Run::new(seed);
        let mut before = run.fleet.now();
        for command in &commands {
            run.go(command);
            prop_assert!(run.fleet.now() >= before);
            before = run.fleet.now();
            check_events(&run);
        }
    }

    #[test]
    fn the_same_seed_and_commands_give_the_same_world(seed in 0..50_u64, commands in commands()) {
        let (mut one, mut other) = (Run::new(seed), Run::new(seed));
        for command in &commands {
            one.go(command);
            other.go(command);
        }
        prop_assert_eq!(one.fleet.export("web"), other.fleet.export("web"));
    }

    #[test]
    fn steps_of_time_do_not_matter(seed in 0..50_u64, commands in commands()) {
        let (mut one, mut other) = (Run::new(seed), Run::new(seed));
        for command in &commands {
            one.go(command);
            if let Command::Advance(millis) = command {
                let end = other.fleet.now().after(*millis);
                while other.fleet.now() < end {
                    let step = other.fleet.now().after(777).min(end);
                    other.fleet.advance_to(step);
                }
            } else {
                other.go(command);
            }
        }
        prop_assert_eq!(one.fleet.export("web"), other.fleet.export("web"));
    }
}
