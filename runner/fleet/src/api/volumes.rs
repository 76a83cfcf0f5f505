//! Volumes and their snapshots.

use serde::{Deserialize, Serialize};

use super::lax;

/// One volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// `vol_` and more.
    #[serde(deserialize_with = "lax")]
    pub id: String,
    /// Its name; several may have the same.
    #[serde(deserialize_with = "lax")]
    pub name: String,
    /// `created`, `pending_destroy`, …
    #[serde(deserialize_with = "lax")]
    pub state: String,
    /// Its size in gigabytes.
    #[serde(deserialize_with = "lax")]
    pub size_gb: u64,
    /// Its region.
    #[serde(deserialize_with = "lax")]
    pub region: String,
    /// A part of the region, by hardware.
    #[serde(deserialize_with = "lax")]
    pub zone: String,
    /// Whether what is on it is encrypted.
    #[serde(deserialize_with = "lax")]
    pub encrypted: bool,
    /// `ext4` or `raw`.
    #[serde(deserialize_with = "lax")]
    pub fstype: String,
    /// Days for which its snapshots are kept.
    #[serde(deserialize_with = "lax")]
    pub snapshot_retention: u64,
    /// Whether a snapshot is taken every day.
    #[serde(deserialize_with = "lax")]
    pub auto_backup_enabled: bool,
    /// The Machine that has it.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub attached_machine_id: Option<String>,
    /// Of Fly's platform before Machines.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub attached_alloc_id: Option<String>,
    /// RFC 3339.
    #[serde(deserialize_with = "lax")]
    pub created_at: String,
    /// As of a Machine.
    #[serde(deserialize_with = "lax")]
    pub host_status: String,
    /// Bytes of a block.
    #[serde(deserialize_with = "lax")]
    pub block_size: u64,
    /// How many there are.
    #[serde(deserialize_with = "lax")]
    pub blocks: u64,
    /// Of those, for anybody.
    #[serde(deserialize_with = "lax")]
    pub blocks_avail: u64,
    /// Of those, free.
    #[serde(deserialize_with = "lax")]
    pub blocks_free: u64,
}

/// The body of a create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateVolumeRequest {
    /// Its name.
    #[serde(deserialize_with = "lax")]
    pub name: String,
    /// A region, or several as for a Machine.
    #[serde(deserialize_with = "lax")]
    pub region: Option<String>,
    /// Gigabytes.
    #[serde(deserialize_with = "lax")]
    pub size_gb: Option<u64>,
    /// True if none.
    #[serde(deserialize_with = "lax")]
    pub encrypted: Option<bool>,
    /// On hardware that no other of its name is on: here each is.
    #[serde(deserialize_with = "lax")]
    pub require_unique_zone: Option<bool>,
    /// Days.
    #[serde(deserialize_with = "lax")]
    pub snapshot_retention: Option<u64>,
    /// True if none.
    #[serde(deserialize_with = "lax")]
    pub auto_backup_enabled: Option<bool>,
    /// `ext4` if none.
    #[serde(deserialize_with = "lax")]
    pub fstype: Option<String>,
    /// What it is restored from.
    #[serde(deserialize_with = "lax")]
    pub snapshot_id: Option<String>,
    /// What it is a copy of.
    #[serde(deserialize_with = "lax")]
    pub source_volume_id: Option<String>,
}

/// The body of an update; what is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateVolumeRequest {
    /// Days.
    #[serde(deserialize_with = "lax")]
    pub snapshot_retention: Option<u64>,
    /// Whether a snapshot is taken every day.
    #[serde(deserialize_with = "lax")]
    pub auto_backup_enabled: Option<bool>,
}

/// The body of an extension.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExtendVolumeRequest {
    /// The new size in gigabytes.
    #[serde(deserialize_with = "lax")]
    pub size_gb: u64,
}

/// The answer to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExtendedVolume {
    /// Whether its Machine sees it only after a restart.
    #[serde(deserialize_with = "lax")]
    pub needs_restart: bool,
    /// The volume.
    #[serde(deserialize_with = "lax")]
    pub volume: Volume,
}

/// One snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeSnapshot {
    /// `vs_` and more.
    #[serde(deserialize_with = "lax")]
    pub id: String,
    /// Bytes in it.
    #[serde(deserialize_with = "lax")]
    pub size: u64,
    /// Bytes of the volume.
    #[serde(deserialize_with = "lax")]
    pub volume_size: u64,
    /// What it is told apart by.
    #[serde(deserialize_with = "lax")]
    pub digest: String,
    /// RFC 3339.
    #[serde(deserialize_with = "lax")]
    pub created_at: String,
    /// `created`.
    #[serde(deserialize_with = "lax")]
    pub status: String,
    /// Days for which it is kept.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u64>,
}
