//! What all connections share: the fleet, the clock, and who waits for which Machine.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use groundcrew_fleet::{Faults, Fleet, MachineKey, Time};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::fly::limits::Limits;
use crate::lock::lock;
use crate::service::{Row, Service};
use crate::tap::Tap;
use crate::token::Token;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) fleet: Arc<Mutex<Fleet>>,
    pub(crate) clock: Clock,
    pub(crate) tokens: Vec<Token>,
    pub(crate) organisation: String,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) seed: u64,
    pub(crate) limits: Option<Limits>,
    /// The routes of all services.
    pub(crate) routes: Vec<Arc<Row>>,
    pub(crate) services: Vec<Arc<dyn Service>>,
    pub(crate) tap: Tap,
    /// Wakes the driver when something falls due earlier than it knew.
    pub(crate) sooner: Notify,
    waiters: Mutex<HashMap<MachineKey, Arc<Notify>>>,
}

impl World {
    pub(crate) fn new(
        fleet: Arc<Mutex<Fleet>>,
        clock: Clock,
        tokens: Vec<Token>,
        limited: bool,
        faults: Faults,
        services: Vec<Arc<dyn Service>>,
    ) -> World {
        let settings = {
            let mut fleet = lock(&fleet);
            fleet.track_changes();
            fleet.settings().clone()
        };
        let routes = services.iter().cloned().flat_map(Service::routes);
        World {
            fleet,
            clock,
            tokens,
            organisation: settings.organisation,
            faults: Mutex::new(faults),
            seed: settings.seed,
            limits: limited.then(|| Limits::new(settings.regions)),
            routes: routes.map(Arc::new).collect(),
            services,
            tap: Tap::default(),
            sooner: Notify::new(),
            waiters: Mutex::default(),
        }
    }

    /// Does something to the fleet at the present moment, and tells those who wait.
    pub(crate) fn act<T>(&self, what: impl FnOnce(&mut Fleet) -> T) -> T {
        let mut fleet = lock(&self.fleet);
        // Read under the lock, so that time never runs ahead of another request's.
        fleet.advance_to(self.clock.now());
        let before = fleet.next_due();
        let result = what(&mut fleet);
        let after = fleet.next_due();
        let changed = fleet.take_changed();
        drop(fleet);
        if after.is_some() && (before.is_none() || after < before) {
            self.sooner.notify_one();
        }
        self.wake(&changed);
        result
    }

    /// One of the services, for what only it can be told.
    pub(crate) fn service<S: Service>(&self) -> Option<&S> {
        self.services.iter().find_map(|service| {
            let service: &dyn Any = &**service;
            service.downcast_ref()
        })
    }

    fn wake(&self, changed: &[MachineKey]) {
        if changed.is_empty() {
            return;
        }
        let waiters = lock(&self.waiters);
        for waiter in changed.iter().filter_map(|key| waiters.get(key)) {
            waiter.notify_waiters();
        }
    }

    /// What is woken when this Machine changes. Give it back with [`World::leave`].
    pub(crate) fn join(&self, key: &MachineKey) -> Arc<Notify> {
        lock(&self.waiters).entry(key.clone()).or_default().clone()
    }

    pub(crate) fn leave(&self, key: &MachineKey, waiter: &Arc<Notify>) {
        let mut waiters = lock(&self.waiters);
        // Two are left when nobody else waits: the map's and the leaver's own.
        if Arc::strong_count(waiter) == 2 {
            waiters.remove(key);
        }
    }

    /// Keeps the fleet at the present moment for those who wait.
    pub(crate) async fn drive(&self) {
        loop {
            let due: Option<Time> = self.act(|fleet| fleet.next_due());
            let sooner = self.sooner.notified();
            match due {
                Some(at) => tokio::select! {
                    () = self.clock.sleep_until(at) => {}
                    () = sooner => {}
                },
                None => sooner.await,
            }
        }
    }
}
