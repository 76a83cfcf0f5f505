//! The wire types of the Machines API, and of releases beside it, shared by the model and by the live HTTP client.
//!
//! Reading is tolerant: unknown fields are ignored, missing and `null` ones take their default,
//! and what Fly owns (a Machine's `config`) is kept whole as JSON. Nothing here decides anything;
//! the transitions are in [`crate::state`].
//!
//! Sources: Fly's OpenAPI document of 2026-05-07 and the types of `superfly/fly-go`.

mod apps;
mod checks;
mod config;
mod error;
mod event;
mod go_duration;
mod lease;
mod machine;
mod org;
mod placements;
mod release;
mod requests;
mod responses;
mod secrets;
mod volumes;

pub use apps::{
    App, AppList, AppOrganization, CreateAppRequest, CurrentTokens, Region, Regions, TokenInfo,
};
pub use checks::{CheckResult, CheckStatus, is_fake_check};
pub use config::{Autostop, ConfigView, ConfiguredCheck, Mount, RestartPolicy, StopConfig};
pub use error::{ApiError, ErrorResponse};
pub use event::{Event, ExitEvent};
pub use go_duration::{format_go_duration, go_duration_millis, parse_go_duration};
pub use lease::{Lease, LeaseEnvelope, ReleasedLease};
pub use machine::{HostStatus, ImageRef, Machine};
pub use org::{OrgMachine, OrgMachines};
pub use placements::{PlacementRequest, Placements, RegionPlacement};
pub use release::{
    NewRelease, RELEASE_STATUSES, Release, ReleaseEnvelope, ReleaseList, ReleasePatch,
    ReleaseStatus,
};
pub use requests::{
    CreateRequest, ExecRequest, LeaseRequest, ListQuery, MetadataPatch, MetadataValue, OrgQuery,
    RestartQuery, SignalRequest, StopRequest, UpdateRequest, WaitQuery,
};
pub use responses::{Done, ExecResponse, MachineVersion, Process, StartResponse, WaitResponse};
pub use secrets::{
    AppSecret, AppSecrets, SecretSet, SecretValue, SecretsUpdate, SecretsUpdated, SecretsVersion,
};
pub use volumes::{
    CreateVolumeRequest, ExtendVolumeRequest, ExtendedVolume, UpdateVolumeRequest, Volume,
    VolumeSnapshot,
};

use serde::{Deserialize, Deserializer};

/// Reads `null` as the default: Go writes `null` for an empty list or map.
pub(crate) fn lax<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// For `skip_serializing_if`: flags are written only when set.
pub(crate) fn unset(flag: &bool) -> bool {
    !*flag
}
