//! Listings of Machines.

use std::collections::BTreeSet;

use super::door;
use super::machine::Machine;
use super::state::State;
use crate::bindings::groundcrew::host::machines::{Filter, Scope};
use crate::queue::Operation;
use crate::{Error, Host, Kind, Result};

/// Machines taken at a time: the contract's most.
const PAGE: u32 = 1000;

/// A listing to be made; each filter narrows it.
#[derive(Debug)]
#[must_use = "nothing is listed until `list` or `list_partial`"]
pub struct Machines {
    scope: Scope,
    filter: Filter,
}

/// A listing, and what it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The Machines that are known.
    pub machines: Vec<Machine>,
    /// Regions that did not answer. If there are any, the listing is partial.
    pub missing_regions: Vec<String>,
    /// How many more there are that the step's grant does not cover: they are left out.
    pub left_out: u32,
}

impl Host {
    /// The Machines of an app.
    pub fn machines(&self, app: &str) -> Machines {
        Machines::new(Scope::App(app.to_owned()))
    }

    /// The Machines of the whole organisation.
    pub fn organisation(&self) -> Machines {
        Machines::new(Scope::Organisation)
    }

    /// Reads one Machine.
    pub async fn machine(&self, app: &str, id: &str) -> Result<Machine> {
        Operation::new(door::get(app, id), |op| Ok(Machine(door::take_get(op)?))).await
    }
}

impl Machines {
    fn new(scope: Scope) -> Self {
        let filter = Filter {
            groups: Vec::new(),
            regions: Vec::new(),
            states: Vec::new(),
        };
        Self { scope, filter }
    }

    /// Keeps these process groups; with none given, all. Takes an `Option` or a list.
    pub fn group<S: Into<String>>(mut self, groups: impl IntoIterator<Item = S>) -> Self {
        self.filter
            .groups
            .extend(groups.into_iter().map(Into::into));
        self
    }

    /// Keeps these regions; with none given, all. Takes an `Option` or a list.
    pub fn region<S: Into<String>>(mut self, regions: impl IntoIterator<Item = S>) -> Self {
        self.filter
            .regions
            .extend(regions.into_iter().map(Into::into));
        self
    }

    /// Keeps this state, beside others that were named.
    pub fn state(mut self, state: State) -> Self {
        self.filter.states.push(state.as_str().to_owned());
        self
    }

    /// All Machines that match.
    ///
    /// # Errors
    ///
    /// Also if the listing is partial: a plugin that can do with less asks for
    /// [`list_partial`](Self::list_partial).
    pub async fn list(self) -> Result<Vec<Machine>> {
        let listing = self.list_partial().await?;
        if listing.missing_regions.is_empty() {
            return Ok(listing.machines);
        }
        let regions = listing.missing_regions.join(", ");
        Err(Error::new(
            Kind::Unavailable,
            format!("the listing is partial: no answer from {regions}"),
        ))
    }

    /// The Machines that match and are known, and the regions that did not answer.
    pub async fn list_partial(self) -> Result<Listing> {
        Operation::new(door::list(&self.scope, &self.filter), take_pages).await
    }
}

/// Takes a delivered listing to its end.
fn take_pages(op: u64) -> Result<Listing> {
    let mut machines = Vec::new();
    loop {
        let offset = u32::try_from(machines.len()).unwrap_or(u32::MAX);
        let page = door::take_list(op, offset, PAGE)?;
        let empty = page.machines.is_empty();
        machines.extend(page.machines.into_iter().map(Machine));
        if empty || machines.len() >= page.total as usize {
            return Ok(Listing {
                machines,
                missing_regions: page.missing_regions,
                left_out: page.left_out,
            });
        }
    }
}

/// Refuses ids that no listed Machine of an app, or of one of its process groups, has: most likely
/// slips, and then better nothing is done.
///
/// # Errors
///
/// `invalid`, with all of them.
pub fn refuse_unknown(
    listed: &[Machine],
    ids: &[String],
    app: &str,
    group: Option<&str>,
) -> Result<()> {
    let known: BTreeSet<&str> = listed.iter().map(|machine| machine.id.as_str()).collect();
    let unknown = ids.iter().map(String::as_str);
    let unknown: Vec<&str> = unknown.filter(|id| !known.contains(id)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let scope = group.map_or_else(String::new, |group| format!(", group `{group}`"));
    Err(Error::invalid(format!(
        "not among the Machines of app `{app}`{scope}: {}",
        unknown.join(", ")
    )))
}
