//! Volumes of apps. Which Machine has one is what the configurations of its Machines say.

use crate::api::{self, ApiError};
use crate::fleet::{Caller, Fleet};
use crate::holdings::Volume;
use groundcrew_faults as random;

/// Gigabytes of a volume of which nobody says how large it is, and the least and the most. (Fly's
/// documentation of volumes.)
const SIZE: u64 = 1;
const SIZES: std::ops::RangeInclusive<u64> = 1..=500;

/// Days for which a snapshot is kept if nobody says. (Fly's documentation of snapshots.)
const RETENTION: u64 = 5;

impl Fleet {
    /// The volumes of an app, by id.
    pub fn volumes(&self, app: &str) -> Result<Vec<api::Volume>, ApiError> {
        let ids = self.app(app)?.volumes.keys();
        ids.map(|id| self.volume(app, id)).collect()
    }

    /// One volume.
    pub fn volume(&self, app: &str, id: &str) -> Result<api::Volume, ApiError> {
        let volume = self.app(app)?.volumes.get(id);
        let volume = volume.ok_or_else(|| no_volume(id))?;
        let blocks = volume.size_gb << 18;
        Ok(api::Volume {
            id: id.to_owned(),
            name: volume.name.clone(),
            state: "created".to_owned(),
            size_gb: volume.size_gb,
            region: volume.region.clone(),
            zone: volume.zone.clone(),
            encrypted: volume.encrypted,
            fstype: volume.fstype.clone(),
            snapshot_retention: volume.retention,
            auto_backup_enabled: volume.backups,
            attached_machine_id: self.attached(app, id),
            attached_alloc_id: None,
            created_at: volume.created.rfc3339(),
            host_status: "ok".to_owned(),
            block_size: 4096,
            blocks,
            blocks_avail: blocks,
            blocks_free: blocks,
        })
    }

    /// The Machine that has a volume.
    fn attached(&self, app: &str, volume: &str) -> Option<String> {
        let machines = self.apps.get(app)?.machines.values();
        let mut there = machines.filter(|machine| !machine.state.gone());
        let has = there.find(|machine| {
            let mounts = machine.view().mounts();
            mounts.iter().any(|mount| mount.volume == volume)
        });
        has.map(|machine| machine.id.to_string())
    }

    /// Makes a volume: empty, of a snapshot, or as a copy of another.
    pub fn create_volume(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        request: &api::CreateVolumeRequest,
    ) -> Result<api::Volume, ApiError> {
        self.app(app)?;
        if !is_name(&request.name) {
            return Err(ApiError::new(
                400,
                "invalid_argument: name may have small letters, digits and underscores only, and at most 30",
            ));
        }
        let region = self.region_for(request.region.as_deref().unwrap_or_default())?;
        let size = self.size_of(app, request)?;
        self.made += 1;
        let drawn = random::draw(self.settings.seed, "volume", &request.name, self.made);
        let id = format!("vol_{drawn:016x}");
        let volume = Volume {
            name: request.name.clone(),
            region,
            zone: format!("{:04x}", drawn & 0xffff),
            size_gb: size,
            encrypted: request.encrypted.unwrap_or(true),
            fstype: request.fstype.clone().unwrap_or_else(|| "ext4".to_owned()),
            retention: request.snapshot_retention.unwrap_or(RETENTION),
            backups: request.auto_backup_enabled.unwrap_or(true),
            created: self.now,
            snapshots: Vec::new(),
        };
        if let Some(app) = self.apps.get_mut(app) {
            app.volumes.insert(id.clone(), volume);
        }
        self.log_applied(caller, "volumes.create", app, &id);
        self.volume(app, &id)
    }

    /// How large a new volume is: never smaller than what it is made of.
    fn size_of(&self, app: &str, request: &api::CreateVolumeRequest) -> Result<u64, ApiError> {
        let volumes = &self.app(app)?.volumes;
        let given = |id: &Option<String>| id.clone().filter(|id| !id.is_empty());
        let mut least = None;
        if let Some(id) = given(&request.source_volume_id) {
            let source = volumes.get(&id).ok_or_else(|| no_volume(&id))?;
            least = Some(source.size_gb);
        }
        if let Some(id) = given(&request.snapshot_id) {
            let of = volumes
                .values()
                .find(|volume| volume.snapshots.iter().any(|snapshot| snapshot.id == id));
            let missing = || ApiError::new(404, format!("snapshot {id} not found"));
            least = Some(of.ok_or_else(missing)?.size_gb);
        }
        let size = request.size_gb.or(least).unwrap_or(SIZE);
        sized(size, least.unwrap_or(*SIZES.start()))
    }

    /// Changes what is kept of a volume.
    pub fn update_volume(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        request: &api::UpdateVolumeRequest,
    ) -> Result<api::Volume, ApiError> {
        let volume = self.volume_mut(app, id)?;
        volume.retention = request.snapshot_retention.unwrap_or(volume.retention);
        volume.backups = request.auto_backup_enabled.unwrap_or(volume.backups);
        self.log_applied(caller, "volumes.update", app, id);
        self.volume(app, id)
    }

    /// Makes a volume larger.
    pub fn extend_volume(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        request: &api::ExtendVolumeRequest,
    ) -> Result<api::ExtendedVolume, ApiError> {
        let volume = self.volume_mut(app, id)?;
        volume.size_gb = sized(request.size_gb, volume.size_gb)?;
        self.log_applied(caller, "volumes.extend", app, id);
        let volume = self.volume(app, id)?;
        Ok(api::ExtendedVolume {
            needs_restart: false,
            volume,
        })
    }

    /// Destroys a volume that no Machine has.
    pub fn destroy_volume(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
    ) -> Result<api::Volume, ApiError> {
        let volume = self.volume(app, id)?;
        if let Some(machine) = &volume.attached_machine_id {
            return Err(ApiError::new(
                412,
                format!("failed_precondition: volume is currently bound to machine: {machine}"),
            ));
        }
        if let Some(app) = self.apps.get_mut(app) {
            app.volumes.remove(id);
        }
        self.log_applied(caller, "volumes.destroy", app, id);
        Ok(api::Volume {
            state: "pending_destroy".to_owned(),
            ..volume
        })
    }

    /// The snapshots of a volume, the newest first.
    pub fn snapshots(&self, app: &str, id: &str) -> Result<Vec<api::VolumeSnapshot>, ApiError> {
        let volume = self.app(app)?.volumes.get(id);
        let volume = volume.ok_or_else(|| no_volume(id))?;
        Ok(volume.snapshots.iter().rev().cloned().collect())
    }

    /// Takes one.
    pub fn create_snapshot(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
    ) -> Result<(), ApiError> {
        self.made += 1;
        let drawn = random::draw(self.settings.seed, "snapshot", id, self.made);
        let created_at = self.now.rfc3339();
        let volume = self.volume_mut(app, id)?;
        volume.snapshots.push(api::VolumeSnapshot {
            id: format!("vs_{drawn:016x}"),
            size: 0,
            volume_size: volume.size_gb << 30,
            digest: format!("{drawn:016x}"),
            created_at,
            status: "created".to_owned(),
            retention_days: Some(volume.retention),
        });
        self.log_applied(caller, "snapshots.create", app, id);
        Ok(())
    }

    /// Where a Machine with these mounts can be: where its volume is, which nobody else may have.
    pub(crate) fn region_of_mounts(
        &self,
        app: &str,
        mounts: &[api::Mount],
        wanted: &str,
    ) -> Result<Option<String>, ApiError> {
        let Some(mount) = mounts.first() else {
            return Ok(None);
        };
        if mounts.len() > 1 {
            return Err(ApiError::new(
                400,
                "invalid_argument: a machine can have one mount only",
            ));
        }
        let volume = self.app(app)?.volumes.get(&mount.volume);
        let volume = volume.ok_or_else(|| no_volume(&mount.volume))?;
        if let Some(machine) = self.attached(app, &mount.volume) {
            return Err(ApiError::new(
                409,
                format!(
                    "aborted: volume {} is in use by machine {machine}",
                    mount.volume
                ),
            ));
        }
        let meant = self.regions_of(wanted)?;
        if !meant.contains(&volume.region) {
            let (region, id) = (&volume.region, &mount.volume);
            return Err(ApiError::new(
                400,
                format!("invalid_argument: volume {id} is in region {region}, not in {wanted}"),
            ));
        }
        Ok(Some(volume.region.clone()))
    }

    /// What a fleet that is loaded says of its volumes: those that its Machines have.
    pub(crate) fn adopt_volumes(&mut self, app: &str, region: &str, mounts: &[api::Mount]) {
        let (now, seed) = (self.now, self.settings.seed);
        let Some(app) = self.apps.get_mut(app) else {
            return;
        };
        for mount in mounts.iter().filter(|mount| !mount.volume.is_empty()) {
            let drawn = random::draw(seed, "volume", &mount.volume, 0);
            let volume = || Volume {
                name: "data".to_owned(),
                region: region.to_owned(),
                zone: format!("{:04x}", drawn & 0xffff),
                size_gb: SIZE,
                encrypted: true,
                fstype: "ext4".to_owned(),
                retention: RETENTION,
                backups: true,
                created: now,
                snapshots: Vec::new(),
            };
            app.volumes
                .entry(mount.volume.clone())
                .or_insert_with(volume);
        }
    }

    fn volume_mut(&mut self, app: &str, id: &str) -> Result<&mut Volume, ApiError> {
        self.app(app)?;
        let app = self.apps.get_mut(app);
        let volume = app.and_then(|app| app.volumes.get_mut(id));
        volume.ok_or_else(|| no_volume(id))
    }
}

fn sized(size: u64, least: u64) -> Result<u64, ApiError> {
    match size {
        small if small < least => Err(ApiError::new(
            400,
            format!("invalid_argument: size_gb must be at least {least}"),
        )),
        large if !SIZES.contains(&large) => Err(ApiError::new(
            400,
            format!("invalid_argument: size_gb must be at most {}", SIZES.end()),
        )),
        fine => Ok(fine),
    }
}

/// (Fly's documentation of volumes.)
fn is_name(name: &str) -> bool {
    (1..=30).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn no_volume(id: &str) -> ApiError {
    ApiError::new(404, format!("volume {id} not found"))
}
