//! Making Machines and giving them other configurations: what is sent is made of what is there, at
//! the moment it is sent, and carries the effect's id so that it is known again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use groundcrew::service::trouble::Trouble;
use groundcrew::{Effect, EffectId, Executor, Failure, Found, Outcome, digest};
use groundcrew_fleet::api::{ConfigView, CreateRequest, Machine, MachineVersion, UpdateRequest};
use serde_json::Value;

use super::change;
use super::reach::Executing;
use crate::fly::contract::{
    Change, CreateOptions, Created, ExecOptions, Executed, RestoreOptions, UpdateOptions, Updated,
    Version,
};
use crate::fly::names::App;
use crate::fly::world::api::{At, Which};
use crate::fly::world::summary;

/// A command's output is cut to its last so many bytes. (The contract.)
const OUTPUT_BYTES: usize = 16 << 10;

/// A command may take this long at most. (The contract.)
const LONGEST_EXEC: Duration = Duration::from_secs(60);

/// What an update and a restore have in common.
struct Wanted {
    expected: Option<String>,
    launch: Option<bool>,
    cordoned: Option<bool>,
    min_secrets_version: Option<u64>,
    to: To,
}

/// Where the new configuration comes from.
enum To {
    Changed(Box<Change>),
    Version(String),
}

impl Wanted {
    fn of(effect: &Effect) -> Result<Self, Failure> {
        let request = &effect.request;
        if request.row.operation() == "update" {
            let options: UpdateOptions = request.arguments()?;
            return Ok(Self {
                expected: options.expected,
                launch: options.launch,
                cordoned: options.cordoned,
                min_secrets_version: options.min_secrets_version,
                to: To::Changed(Box::new(options.change)),
            });
        }
        let options: RestoreOptions = request.arguments()?;
        Ok(Self {
            expected: options.expected,
            launch: options.launch,
            cordoned: options.cordoned,
            min_secrets_version: None,
            to: To::Version(options.version),
        })
    }
}

/// What a new Machine is made of.
pub(super) struct Making {
    region: Option<String>,
    pub(super) config: Value,
    options: CreateOptions,
    /// The process group of the Machine that it copies, if it copies one.
    pub(super) copied: Option<String>,
}

/// Whether a Machine that is updated is started, unless somebody says so: one that runs or tries to.
/// (flyctl's `shouldSkipLaunch`.)
fn runs(machine: &Machine) -> bool {
    let up = [
        "started",
        "starting",
        "restarting",
        "replacing",
        "failed",
        "updating",
    ];
    up.contains(&machine.state.as_str()) && machine.config_view().standbys().is_empty()
}

fn whole(machine: &Machine) -> Result<&Value, Failure> {
    if machine.config.is_object() {
        return Ok(&machine.config);
    }
    Err(Failure::Unavailable(format!(
        "the configuration of Machine {} is not known: its host is {}",
        machine.id,
        machine.host().as_str()
    )))
}

fn updated(effect: &Effect, version: String) -> Outcome {
    let before = |field: &str| {
        let baseline = effect.baseline.as_ref().and_then(|b| b[field].as_str());
        baseline.unwrap_or_default().to_owned()
    };
    Outcome::ok(&Updated {
        instance_id: version,
        previous: before("instance"),
        baseline_event: before("event"),
    })
}

fn created(machine: &Machine) -> Outcome {
    // The oldest: one that is found again after its answer was lost may have started already, and
    // all that it has done since it was made counts.
    let first = machine.events.iter().map(|event| event.id.as_str()).min();
    Outcome::ok(&Created {
        id: machine.id.clone(),
        name: machine.name.clone(),
        region: machine.region.clone(),
        instance_id: machine.instance_id.clone(),
        private_address: (!machine.private_ip.is_empty()).then(|| machine.private_ip.clone()),
        baseline_event: first.unwrap_or_default().to_owned(),
    })
}

/// The name of what an effect makes: unique, and a host name.
fn name(effect: &EffectId) -> String {
    format!("groundcrew-{}", &digest(effect.to_string())[..20])
}

/// The Machine that has the name already. (The text of Fly's 409.)
fn namesake(failure: &Failure) -> Option<String> {
    let Failure::Conflict(text) = failure else {
        return None;
    };
    let (_, rest) = text.split_once("machine ID ")?;
    let (id, rest) = rest.split_once(' ')?;
    rest.starts_with("already exists").then(|| id.to_owned())
}

fn tail(mut text: String) -> String {
    if text.len() > OUTPUT_BYTES {
        let from = text.ceil_char_boundary(text.len() - OUTPUT_BYTES);
        text.drain(..from);
    }
    text
}

impl Executing {
    /// Sends an update, or a restore.
    pub(super) async fn send_update(
        &self,
        effect: &Effect,
        at: At<'_>,
    ) -> Result<Outcome, Trouble> {
        let refused = Trouble::refused;
        let wanted = Wanted::of(effect).map_err(refused)?;
        let machine = self.get(effect, at).await.map_err(refused)?;
        if change::marked(machine.config_view(), &effect.id) {
            let ours = self.made_as(effect, at, &machine).await.map_err(refused)?;
            return Ok(updated(effect, ours));
        }
        if let Some(expected) = wanted.expected.filter(|v| *v != machine.instance_id) {
            return Err(refused(Failure::Conflict(format!(
                "Machine {} has changed: it is version {}, not {expected}",
                at.id, machine.instance_id
            ))));
        }
        let now = whole(&machine).map_err(refused)?;
        let mut config = match &wanted.to {
            To::Changed(change) => change::merged(now, change).map_err(refused)?,
            To::Version(version) => {
                let earlier = self.version(effect, at, version).await.map_err(refused)?;
                change::same_group(now, &earlier).map_err(refused)?;
                earlier
            }
        };
        change::mark(&mut config, &effect.id);
        self.open_environment(&mut config).map_err(refused)?;
        let request = UpdateRequest {
            config,
            current_version: Some(machine.instance_id.clone()),
            skip_launch: !wanted.launch.unwrap_or_else(|| runs(&machine)),
            skip_service_registration: wanted.cordoned.unwrap_or(machine.cordoned),
            min_secrets_version: wanted.min_secrets_version,
            ..UpdateRequest::default()
        };
        let nonce = self.leases.nonce(at);
        let machine = self.api.update(at, &request, nonce.as_deref()).await?;
        Ok(updated(effect, machine.instance_id))
    }

    /// An update that arrived left its mark; one that did not is refused when it arrives late, once
    /// another one has: it names the version that it is for.
    pub(super) async fn find_update(&self, effect: &Effect, at: At<'_>) -> Found {
        let machine = match self.get(effect, at).await {
            Ok(machine) => machine,
            Err(failure) => {
                return Found::Unknown(format!("the Machine cannot be read ({failure})"));
            }
        };
        let before = effect.baseline.as_ref().map(|b| &b["instance"]);
        let marked = change::marked(machine.config_view(), &effect.id);
        if !marked && before.is_some_and(|before| *before == *machine.instance_id) {
            return Found::DidNot;
        }
        match self.made_as(effect, at, &machine).await {
            Ok(ours) if marked || ours != machine.instance_id => {
                Found::Happened(updated(effect, ours))
            }
            Ok(_) => Found::Unknown(format!(
                "somebody has updated it since, to version {}",
                machine.instance_id
            )),
            Err(failure) => Found::Unknown(format!("its versions cannot be read ({failure})")),
        }
    }

    /// The version that an effect made, of a Machine as it is now. Whoever changes a configuration keeps
    /// what it does not know, the mark included: ours is the first that has it. The present one if none
    /// has, or Fly does not say.
    async fn made_as(
        &self,
        effect: &Effect,
        at: At<'_>,
        machine: &Machine,
    ) -> Result<String, Failure> {
        let versions = match self.all_versions(effect, at).await {
            Err(Failure::NotFound(_)) => Vec::new(),
            other => other?,
        };
        let ours = |version: &MachineVersion| {
            change::marked(ConfigView::new(&version.user_config), &effect.id)
        };
        // The newest is the first.
        let first = versions.into_iter().rev().find(ours);
        Ok(first.map_or_else(|| machine.instance_id.clone(), |first| first.version))
    }

    /// The newest first.
    async fn all_versions(
        &self,
        effect: &Effect,
        at: At<'_>,
    ) -> Result<Vec<MachineVersion>, Failure> {
        self.rates.action(effect, "versions", at.id.text()).await?;
        self.read(effect, || self.api.versions(at)).await
    }

    /// The configuration that a Machine had.
    async fn version(&self, effect: &Effect, at: At<'_>, version: &str) -> Result<Value, Failure> {
        let versions = self.all_versions(effect, at).await?;
        let found = versions.into_iter().find(|v| v.version == version);
        let config = found.map(|v| v.user_config).filter(Value::is_object);
        config.ok_or_else(|| {
            Failure::NotFound(format!("Fly does not know version {version} of {}", at.id))
        })
    }

    /// The versions of a Machine, newest first.
    pub(super) async fn versions(&self, effect: &Effect, at: At<'_>) -> Outcome {
        let versions = self.all_versions(effect, at).await;
        let shown = |version: MachineVersion| {
            let config = ConfigView::new(&version.user_config);
            Version {
                image: config.image().to_owned(),
                release: summary::release(config),
                instance_id: version.version,
            }
        };
        versions
            .map(|all| all.into_iter().map(shown).collect::<Vec<_>>())
            .into()
    }

    /// What a new Machine is made of: its region and its configuration.
    pub(super) async fn pattern_of(
        &self,
        effect: &Effect,
        app: App<'_>,
    ) -> Result<Making, Failure> {
        let options: CreateOptions = effect.request.arguments()?;
        let pattern = match &options.like {
            None => None,
            Some(id) => {
                let at = At::new(&effect.id, app.text(), id)?;
                Some(self.get(effect, at).await?)
            }
        };
        let config = pattern.as_ref().map(whole).transpose()?;
        let config = change::like(config, &options.change)?;
        let region = options.region.clone();
        let region = region.or_else(|| pattern.as_ref().map(|machine| machine.region.clone()));
        let copied = pattern.map(|machine| machine.process_group().to_owned());
        Ok(Making {
            region,
            config,
            options,
            copied,
        })
    }

    /// Sends a create. One that was made already, by an earlier try, is that one.
    pub(super) async fn send_create(
        &self,
        effect: &Effect,
        app: App<'_>,
    ) -> Result<Outcome, Trouble> {
        let making = self.pattern_of(effect, app).await;
        let Making {
            region,
            mut config,
            options,
            ..
        } = making.map_err(Trouble::refused)?;
        change::mark(&mut config, &effect.id);
        self.open_environment(&mut config)
            .map_err(Trouble::refused)?;
        let group = ConfigView::new(&config).process_group().to_owned();
        // Creates are limited by app and region, not by app alone. (flyctl's issue 3961.)
        let place = format!("{app}/{}", region.as_deref().unwrap_or_default());
        let turn = self.rates.action(effect, "create", &place).await;
        turn.map_err(Trouble::refused)?;
        let request = CreateRequest {
            config,
            name: Some(name(&effect.id)),
            region,
            skip_launch: !options.launch,
            skip_service_registration: options.cordoned,
            min_secrets_version: options.min_secrets_version,
            ..CreateRequest::default()
        };
        let machine = match self.api.create(&effect.id, app, &request).await {
            // What was there before is not what has been made: to take it back would destroy it.
            Ok(machine) if self.belongs(app.text(), &machine.id).is_some() => {
                return Err(Trouble {
                    failure: Failure::Unavailable(format!(
                        "the answer is about Machine `{}`, which was there before",
                        machine.id
                    )),
                    may_have_happened: true,
                    transient: true,
                    retry_after: None,
                });
            }
            Ok(machine) => machine,
            Err(trouble) => {
                let Some(id) = namesake(&trouble.failure) else {
                    return Err(trouble);
                };
                let at = At::new(&effect.id, app.text(), &id).map_err(Trouble::refused)?;
                self.is_young(app.text(), &id);
                let there = self.get(effect, at).await.map_err(Trouble::refused)?;
                if !change::marked(there.config_view(), &effect.id) {
                    return Err(trouble);
                }
                there
            }
        };
        Ok(self.made(app.text(), &group, &machine))
    }

    /// A Machine that was made has the mark, also if it is gone since because its image cannot be
    /// pulled. One that is made late is found by its name, as the create is sent again.
    pub(super) async fn find_create(&self, effect: &Effect, app: App<'_>) -> Found {
        if let Err(failure) = self.rates.action(effect, "list", app.text()).await {
            return Found::Unknown(failure.to_string());
        }
        let found = Mutex::new(None);
        let held = || found.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = name(&effect.id);
        let each = |machine: Machine| {
            // By whatever else it was listed. A clone of it has the mark as well, and another name.
            if change::marked(machine.config_view(), &effect.id) && machine.name == ours {
                *held() = Some(machine);
            }
        };
        let which = Which::MadeBy(&effect.id);
        let listed = self.read(effect, || self.api.list(&effect.id, app, which, &each));
        if listed.await.is_err() {
            return Found::DidNot;
        }
        match held().take() {
            Some(machine) => {
                Found::Happened(self.made(app.text(), machine.process_group(), &machine))
            }
            None => Found::DidNot,
        }
    }

    /// What is known of a Machine that an effect made.
    fn made(&self, app: &str, group: &str, machine: &Machine) -> Outcome {
        self.is_young(app, &machine.id);
        self.note_group(app, &machine.id, group);
        created(machine)
    }

    /// Runs a command.
    pub(super) async fn send_exec(&self, effect: &Effect, at: At<'_>) -> Result<Outcome, Trouble> {
        let mut options: ExecOptions = effect.request.arguments().map_err(Trouble::refused)?;
        if options.command.first().is_none_or(String::is_empty) {
            let failure = Failure::Invalid("there is no command".to_owned());
            return Err(Trouble::refused(failure));
        }
        let longest = u64::try_from(LONGEST_EXEC.as_millis()).unwrap_or(u64::MAX);
        options.timeout_ms = options.timeout_ms.clamp(1000, longest);
        let nonce = self.leases.nonce(at);
        let ended = self.api.exec(at, &options, nonce.as_deref()).await?;
        let exit_code = match ended.exit_code {
            // 128 and the signal, as shells say it.
            0 if ended.exit_signal > 0 => 128 + ended.exit_signal,
            code => code,
        };
        Ok(Outcome::ok(&Executed {
            exit_code,
            stdout: tail(ended.stdout),
            stderr: tail(ended.stderr),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_host_names_and_tell_effects_apart() {
        let effect = |number| EffectId {
            run: "01mcc5rm000000000000002000".into(),
            step: "create greens~2".into(),
            number,
        };
        let (one, two) = (name(&effect(1)), name(&effect(2)));
        assert_ne!(one, two);
        assert_eq!(one, name(&effect(1)));
        assert!(one.len() <= 63 && one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    }

    #[test]
    fn the_machine_that_has_a_name_is_read_from_the_refusal() {
        let text = "conflict (status 409): already_exists: unique machine name violation, machine ID 148e21 already exists with name x";
        let id = namesake(&Failure::Conflict(text.to_owned()));
        assert_eq!(id.as_deref(), Some("148e21"));
        let other =
            Failure::Conflict("conflict (status 409): lease currently held by x".to_owned());
        assert_eq!(namesake(&other), None);
        assert_eq!(namesake(&Failure::Unavailable(text.to_owned())), None);
    }

    #[test]
    fn outputs_keep_their_end() {
        assert_eq!(tail("abc".to_owned()), "abc");
        let long = format!("{}end", "ä".repeat(OUTPUT_BYTES));
        let cut = tail(long);
        assert!(cut.len() <= OUTPUT_BYTES && cut.ends_with("end"));
    }
}
