//! What a fork's apps were when they were copied: what a plan rests on.

use std::collections::BTreeMap;

use groundcrew::{Effect, Failure};
use serde_json::Value;

use super::ListArguments;
use super::reach::{Executing, keeps, sees};
use crate::fly::contract::{Filter, Scope};
use crate::fly::world::fork::Fork;
use crate::fly::world::summary;

impl Executing {
    /// What a request reads or writes to, by `app/id`; of the target itself nothing.
    pub(super) async fn original_of(
        &self,
        effect: &Effect,
    ) -> Result<BTreeMap<String, Value>, Failure> {
        let Some(fork) = &self.fork else {
            return Ok(BTreeMap::new());
        };
        let request = &effect.request;
        let named = (&request.app, &request.subject, request.row.creates);
        let (kept, filter) = match named {
            (Some(app), subject, made) if subject.is_some() || made.is_some() => {
                self.touched(effect, fork, app).await?;
                // What is made was not there.
                let id = subject.as_deref().unwrap_or_default();
                (fork.original(app, Some(id)), Filter::default())
            }
            _ => {
                let ListArguments { scope, filter } = request.arguments()?;
                let kept = match scope {
                    Scope::App(app) => {
                        self.touched(effect, fork, &app).await?;
                        fork.original(&app, None)
                    }
                    Scope::Organisation => {
                        let all = self.read(effect, || fork.organisation(&effect.id)).await?;
                        all.machines.iter().map(summary::listed).collect()
                    }
                };
                (kept, filter)
            }
        };
        let kept = kept
            .into_iter()
            .filter(|machine| keeps(&filter, machine) && sees(&effect.cover, machine));
        kept.map(|machine| {
            let whole = serde_json::to_value(&machine)
                .map_err(|e| Failure::other("answer", e.to_string()))?;
            Ok((format!("{}/{}", machine.app, machine.id), whole))
        })
        .collect()
    }

    /// Sees to it that a fork has an app. One that does not exist has no Machines.
    async fn touched(&self, effect: &Effect, fork: &Fork, app: &str) -> Result<(), Failure> {
        match self.read(effect, || fork.touch(&effect.id, app)).await {
            Ok(()) | Err(Failure::NotFound(_)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}
