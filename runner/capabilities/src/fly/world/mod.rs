//! What Fly answers, and what a fork of it does: one of the two for a run, shared by all that act on
//! apps, Machines and releases.

pub(crate) mod api;
pub(crate) mod fork;
pub(crate) mod live;
mod model;
pub(crate) mod summary;

use std::sync::Arc;

use groundcrew::service::Service;
use groundcrew::service::retry::Retries;
use groundcrew::service::trouble::Trouble;
use groundcrew::{EffectId, Mode, Setting};

use fork::Fork;

pub(crate) use api::{Api, At};

/// The world of one run: Fly, or a fork of it. What acts on apps, releases and Machines shares one.
pub(crate) struct Fly {
    pub(crate) live: Arc<live::Live>,
    /// In a rehearsal.
    pub(crate) fork: Option<Arc<Fork>>,
}

impl Fly {
    /// The one of a run.
    pub(crate) fn of(setting: &Setting) -> Result<Arc<Self>, String> {
        setting.commons.share(|| {
            let live = Arc::new(live::Live::new(&setting.target, setting.deadline.clone())?);
            let retries = Retries::live(setting);
            let fork = || Fork::new(live.clone(), retries, setting.clock.clone(), setting.seed);
            let fork = (setting.mode == Mode::Rehearsal).then(|| Arc::new(fork()));
            Ok(Self { live, fork })
        })
    }

    /// The Machines API itself, also in a rehearsal.
    pub(crate) fn service(&self) -> &Service {
        &self.live.service
    }

    /// The configuration of a Machine, where the run acts.
    pub(crate) async fn config(
        &self,
        effect: &EffectId,
        app: &str,
        id: &str,
    ) -> Result<serde_json::Value, Trouble> {
        let at = At::new(effect, app, id).map_err(Trouble::refused)?;
        let machine = match &self.fork {
            Some(fork) => Api::get(fork.as_ref(), at).await?,
            None => Api::get(self.live.as_ref(), at).await?,
        };
        Ok(machine.config)
    }
}

impl Fly {
    /// The Machines, where the run acts.
    pub(crate) fn api(&self) -> Arc<dyn Api> {
        match &self.fork {
            Some(fork) => fork.clone(),
            None => self.live.clone(),
        }
    }
}
