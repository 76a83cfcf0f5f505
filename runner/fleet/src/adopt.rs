//! Copying an app out of API JSON, and into it: a rehearsal's fork, or the output of
//! `fly machine list --json`.

use std::sync::Arc;

use ulid::Ulid;

use crate::api::{self, HostStatus};
use crate::behaviour::Phase;
use crate::fate::{Course, Fate};
use crate::fleet::Fleet;
use crate::machine::{HeldLease, Machine, Pending};
use crate::state::State;
use crate::time::Time;

impl Fleet {
    /// Makes an app of these Machines: ids, states, checks and leases are kept. Machines of the
    /// same ids are replaced. What is in a transient state gets its end scheduled; a state that
    /// nobody knows counts as `stopped`.
    pub fn adopt(&mut self, app: &str, machines: Vec<api::Machine>) {
        self.create_app(app);
        for machine in machines {
            self.adopt_one(app, machine);
        }
    }

    /// All Machines of an app as the API shows them, for files and forks.
    pub fn export(&self, app: &str) -> Vec<api::Machine> {
        let query = api::ListQuery {
            include_leases: true,
            ..api::ListQuery::default()
        };
        self.list(app, &query).unwrap_or_default()
    }
    /// Gives an app these releases, newest first, in the place of those it has.
    pub fn adopt_releases(&mut self, app: &str, releases: Vec<api::Release>) {
        if let Some(app) = self.apps.get_mut(app) {
            app.releases = releases.into_iter().rev().collect();
        }
    }

    fn adopt_one(&mut self, app: &str, shown: api::Machine) {
        let config = if shown.config.is_object() {
            shown.config.clone()
        } else {
            shown.incomplete_config.clone()
        };
        let id: Arc<str> = shown.id.as_str().into();
        let mounts = api::ConfigView::new(&config).mounts();
        self.adopt_volumes(app, &shown.region, &mounts);
        let mut machine = self.blank(
            id.clone(),
            shown.name.clone(),
            shown.region.clone(),
            Arc::new(config),
        );
        for event in shown.events.iter().rev() {
            self.remember_ulid(&event.id);
            machine.events.push_front(event.clone());
        }
        machine
            .events
            .make_contiguous()
            .sort_by(|a, b| b.id.cmp(&a.id));
        self.remember_ulid(&shown.instance_id);
        copy(&mut machine, &shown, self.now);
        // Checks go on in the rhythm they had: the next result one interval after the last.
        machine.boots = 1;
        if machine.state == State::Started {
            machine.running_since = Some(self.now);
            machine.first_check_ms = self.take(Phase::FirstCheck, &id, 0);
            let healthy = self.take(Phase::HealthyFor, &id, 0);
            machine.sick_from.get_or_insert(self.now.after(healthy));
        }
        let state = machine.state;
        self.insert(app, machine);
        if state == State::Started {
            self.schedule_fate(app, &id);
        }
        self.schedule_end(app, &id, state);
        let key = self.key(app, &id);
        self.reckon(&key);
    }

    fn remember_ulid(&mut self, text: &str) {
        if let Ok(ulid) = Ulid::from_string(text) {
            self.last_ulid = self.last_ulid.max(ulid);
        }
    }

    fn schedule_end(&mut self, app: &str, id: &str, state: State) {
        let (phase, what) = match state {
            State::Creating | State::Created => (Phase::Create, Pending::Made { launch: true }),
            State::Starting => (Phase::Boot, Pending::Boot),
            State::Stopping => (Phase::Stop, Pending::Stop),
            State::Restarting => (Phase::Stop, Pending::RestartStop),
            State::Suspending => (Phase::Suspend, Pending::Suspend),
            State::Updating => (Phase::Update, Pending::Updated { launch: false }),
            State::Replacing => (Phase::Update, Pending::Updated { launch: true }),
            State::Destroying | State::LaunchFailed => (Phase::Destroy, Pending::Destroy),
            State::Started
            | State::Stopped
            | State::Suspended
            | State::Failed
            | State::Destroyed
            | State::Replaced
            | State::Migrated => return,
        };
        let at = self.now.after(self.take(phase, id, 0));
        self.schedule(app, id, at, what);
    }
}

fn copy(machine: &mut Machine, shown: &api::Machine, now: Time) {
    machine.state = shown.known_state().unwrap_or(State::Stopped);
    if !shown.instance_id.is_empty() {
        machine.instance_id.clone_from(&shown.instance_id);
        machine.versions = vec![(shown.instance_id.clone(), machine.config.clone())];
    }
    if !shown.private_ip.is_empty() {
        machine.private_ip.clone_from(&shown.private_ip);
    }
    machine.image_ref = shown.image_ref.clone();
    machine.created = shown.created().unwrap_or(now);
    machine.updated = shown.updated().unwrap_or(now);
    machine.cordoned = shown.cordoned;
    machine.host = if shown.host_status.is_empty() {
        HostStatus::Ok
    } else {
        shown.host()
    };
    if machine.unreachable() {
        machine.fate = Fate::HostUnreachable;
    }
    machine.lease = shown.lease.as_ref().map(|lease| HeldLease {
        nonce: lease.nonce.clone(),
        expires: Time::from_millis(
            u64::try_from(lease.expires_at)
                .unwrap_or(0)
                .saturating_mul(1000),
        ),
        owner: lease.owner.clone(),
        description: lease.description.clone(),
    });
    let starts = shown.events.iter().filter(|event| event.kind == "start");
    let start = starts.map(api::Event::at).max();
    machine.run_began = start.unwrap_or(machine.created);
    copy_checks(machine, shown);
    // A running Machine whose checks fail goes on failing them: by its image if that explains it,
    // so that an update cures it, and else by its fate.
    let critical = shown
        .real_checks()
        .any(|check| check.result() == api::CheckResult::Critical);
    if machine.fate == Fate::Normal && machine.state == State::Started && critical {
        match machine.course() {
            Course::Unhealthy => {}
            Course::Sickens => machine.sick_from = Some(Time::default()),
            Course::Sound
            | Course::Exits(_)
            | Course::OutOfMemory { .. }
            | Course::Idle { .. }
            | Course::SlowBoot { .. } => machine.fate = Fate::ChecksFail,
        }
    }
}

fn copy_checks(machine: &mut Machine, shown: &api::Machine) {
    for check in &mut machine.checks {
        if let Some(last) = shown
            .real_checks()
            .find(|last| last.name == check.configured.name)
        {
            let of_this_run = last.updated().is_some_and(|at| at >= machine.run_began);
            check.fresh = of_this_run && machine.state == State::Started;
            check.last = last.clone();
        }
    }
}
