//! What an app has beside its Machines and releases.

use crate::api;
use crate::time::Time;

/// One secret of an app.
#[derive(Clone, Debug)]
pub(crate) struct Secret {
    pub(crate) value: String,
    pub(crate) created: Time,
    pub(crate) updated: Time,
}

/// One volume.
#[derive(Clone, Debug)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) zone: String,
    pub(crate) size_gb: u64,
    pub(crate) encrypted: bool,
    pub(crate) fstype: String,
    pub(crate) retention: u64,
    pub(crate) backups: bool,
    pub(crate) created: Time,
    pub(crate) snapshots: Vec<api::VolumeSnapshot>,
}
